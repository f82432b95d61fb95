"""Optax: the states in the tuples that `optax.chain` makes, by the names of their types."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from trainlib.core.tree import paths
from trainlib.core.types import Optimizer, State, Tree
from trainlib.interop.carry import (
    Slot,
    SlotTable,
    export_state,
    import_state,
    known_step,
    scalar_slots,
    slots,
    step_of,
    to_array,
)
from trainlib.optimizers.adabelief import AdabeliefState
from trainlib.optimizers.adadelta import AdadeltaState
from trainlib.optimizers.adafactor import AdafactorState
from trainlib.optimizers.adagrad import AdagradState
from trainlib.optimizers.adam import AdamState
from trainlib.optimizers.adamax import AdamaxState
from trainlib.optimizers.adan import AdanState
from trainlib.optimizers.ademamix import AdemamixState
from trainlib.optimizers.lamb import LambState
from trainlib.optimizers.lars import LarsState
from trainlib.optimizers.lion import LionState
from trainlib.optimizers.muon import MomentumState as MuonMomentumState
from trainlib.optimizers.nadam import NadamState
from trainlib.optimizers.novograd import NovogradState
from trainlib.optimizers.prodigy import ProdigyState
from trainlib.optimizers.radam import RadamState
from trainlib.optimizers.rmsprop import RmspropState
from trainlib.optimizers.rprop import RpropState
from trainlib.optimizers.schedule_free import ScheduleFreeState
from trainlib.optimizers.sgd import SgdState
from trainlib.optimizers.signum import SignumState
from trainlib.optimizers.sm3 import Sm3State
from trainlib.optimizers.yogi import YogiState
from trainlib.transforms.states import find_states, map_states

LIBRARY = "Optax"
RMS = ("ScaleByRmsState", "ScaleByRmsWithCountState")
CENTERED = ("ScaleByRStdDevState", "ScaleByRStdDevWithCountState")
MEANS = slots(
    m="ScaleByAdamState.mu|ScaleByAmsgradState.mu", v="ScaleByAdamState.nu|ScaleByAmsgradState.nu"
)
TABLE: dict[type, dict[str, Slot]] = {
    SgdState: slots(v="-TraceState.trace"),
    LarsState: slots(v="TraceState.trace"),
    AdagradState: slots(s="ScaleByRssState.sum_of_squares"),
    AdadeltaState: slots(a="ScaleByAdaDeltaState.e_g", d="ScaleByAdaDeltaState.e_x"),
    RmspropState: slots(
        s="|".join(f"{kind}.nu" for kind in RMS + CENTERED),
        a="|".join(f"{kind}.mu" for kind in CENTERED),
        v="TraceState.trace",
    ),
    AdamState: MEANS | slots(v_max="ScaleByAmsgradState.nu_max"),
    AdamaxState: slots(m="ScaleByAdamState.mu", u="ScaleByAdamState.nu"),
    NadamState: MEANS,
    RadamState: MEANS,
    YogiState: MEANS,
    LambState: MEANS,
    AdabeliefState: slots(m="ScaleByBeliefState.mu", s="ScaleByBeliefState.nu"),
    NovogradState: slots(m="ScaleByNovogradState.mu", v="ScaleByNovogradState.nu"),
    LionState: slots(m="ScaleByLionState.mu"),
    SignumState: slots(m="EmaState.ema"),
    RpropState: slots(delta="ScaleByRpropState.step_sizes", u="-ScaleByRpropState.prev_updates"),
    Sm3State: slots(mu="ScaleBySM3State.mu", v="-ScaleBySM3State.nu"),
    AdemamixState: slots(**{x: f"ScaleByAdemamixState.{x}" for x in ("m1", "m2")})
    | slots(v="ScaleByAdemamixState.nu"),
    AdanState: slots(**{x: f"ScaleByAdanState.{x}" for x in ("m", "v", "n", "g")}),
    AdafactorState: slots(
        R="FactoredState.v_row", C="FactoredState.v_col", V="FactoredState.v", M="-EmaState.ema"
    ),
    MuonMomentumState: slots(M="MuonState.mu"),
    ScheduleFreeState: slots(
        z="ScheduleFreeState.z", v="|".join(f"{kind}.nu" for kind in reversed(RMS))
    )
    | scalar_slots(
        beta_1="ScheduleFreeState.b1",
        rate_max="ScheduleFreeState.max_lr",
        weight_sum="ScheduleFreeState.weight_sum",
    ),
    ProdigyState: slots(
        m="ProdigyState.exp_avg",
        v="ProdigyState.exp_avg_sq",
        s="ProdigyState.grad_sum",
        w_0="ProdigyState.params0",
    )
    | scalar_slots(r="ProdigyState.numerator_weighted", d="ProdigyState.estim_lr"),
}
"""Where our fields are: the type and the field there, of which the first that is there counts."""
COUNTS = {"count": 0, "count_m2": 0, "t": 0, "step_count": 1}
"""Fields that count updates, with their value before the first."""
NESTED = ("inner_state", "inner_states", "base_optimizer_state")
IGNORED = ("ns_coeffs", "hyperparams", "hyperparams_states")


def from_optax(
    optax_state: Any, optimizer: Optimizer, params: Tree, step: int | None = None
) -> State:
    """The state of an Optax optimizer as that of ours, by the paths of the parameters.

        tx = tl.adamw(1e-3, convention="optax")
        state = tl.interop.from_optax(optax_state, tx, params)

    Some rules have the same state there (Adam, Yogi, LAMB): give the right one.
    The hyperparameters are not carried: give ours those of Optax's, in its convention. For every
    rule that both have but `sophia`, whose estimate of the Hessian has a state of its own.

    Args:
        optax_state: of an optimizer, with what is chained to it as far as that keeps no arrays.
        optimizer: ours that goes on.
        params: our parameters, with the paths that Optax's have.
        step: the number of updates made, where Optax's state does not count them.

    Raises:
        ValueError: other parameters, slots or shapes than ours, with the difference; or a state
            that does not say how many updates it has made.
    """
    book, steps = _read(optax_state)
    known = known_step(steps, step, LIBRARY)
    like = optimizer.init(params)
    if any(True for _ in find_states(like, NadamState)):
        like = _with_product(like, optimizer, params, known)
    return import_state(like, book, _slots_of, known, LIBRARY)


def to_optax(state: State, like: Any) -> Any:
    """A state of ours as Optax's.

        optax_state = tl.interop.to_optax(state, optax_optimizer.init(params))

    Args:
        state: of our rule.
        like: a state of the Optax optimizer that goes on; it stays as it is.

    Raises:
        ValueError: other parameters, slots or shapes, with the difference.
        ImportError: JAX is not installed.
    """
    import jax.numpy as jnp

    book, _ = _read(like)
    new = export_state(state, book, _slots_of, LIBRARY)
    step = step_of(state)

    def visit(slot: str, field: str, value: Any) -> Any:
        if _is_count(field, tf.nest.flatten(value)):
            return jnp.asarray(step + COUNTS[field], value.dtype)
        if field in IGNORED:
            return value
        entries = _split(new[slot], value) if slot.startswith("ScaleBySM3State.mu") else new[slot]
        leaves = [
            jnp.asarray(entries[path], x.dtype)
            for path, x in zip(_paths(value), tf.nest.flatten(value), strict=True)
        ]
        return tf.nest.pack_sequence_as(value, leaves)

    return _rebuild(like, visit)


def _slots_of(kind: type) -> Mapping[str, Slot]:
    return TABLE.get(kind, {})


def _read(optax_state: Any) -> tuple[SlotTable, list[int]]:
    """The book of a state, and the counts of updates in it."""
    book: SlotTable = {}
    steps: list[int] = []

    def visit(slot: str, field: str, value: Any) -> Any:
        leaves = tf.nest.flatten(value)
        if _is_count(field, leaves):
            steps.append(int(leaves[0]) - COUNTS[field])
        elif field not in IGNORED and leaves:
            entries = dict(zip(_paths(value), map(to_array, leaves), strict=True))
            if slot == "ScaleBySM3State.mu":
                entries = _joined(entries)
            twice = entries.keys() & book.setdefault(slot, {}).keys()
            if twice:
                raise ValueError(f"two of Optax's states hold {slot} of {', '.join(sorted(twice))}")
            book[slot].update(entries)
        return value

    _rebuild(optax_state, visit)
    return book, steps


def _is_count(field: str, leaves: list[Any]) -> bool:
    return field in COUNTS and np.issubdtype(to_array(leaves[0]).dtype, np.integer)


def _rebuild(state: Any, visit: Callable[[str, str, Any], Any]) -> Any:
    """The state with `visit(type.field, field, value)` for every field of the states in it."""
    if hasattr(state, "_fields"):
        name = type(state).__name__
        values = {
            field: _rebuild(value, visit)
            if field in NESTED
            else visit(f"{name}.{field}", field, value)
            for field, value in zip(state._fields, state, strict=True)
        }
        return state._replace(**values) if values else state
    if isinstance(state, Mapping):
        return type(state)({key: _rebuild(child, visit) for key, child in state.items()})  # type: ignore[call-arg]
    if isinstance(state, tuple):
        return tuple(_rebuild(child, visit) for child in state)
    raise TypeError(f"expected a state of Optax, got {state!r}")


def _with_product(like: State, optimizer: Optimizer, params: Tree, step: int) -> State:
    """The state with Nadam's product P, which Optax, of a constant momentum, does not keep.

    An update by gradients of 0 shows the momentum, and the product is its power.
    """
    zeros = tf.nest.map_structure(tf.zeros_like, params)
    _, after = optimizer.update(zeros, like, params)
    momenta = [found.P for found in find_states(after, NadamState)]
    P = momenta[0] ** tf.constant(step, tf.float64)
    return map_states(lambda found: found._replace(P=P), like, NadamState)


def _joined(entries: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """SM3's vectors of each parameter end to end: theirs are at "path/0", "path/1", ..."""
    parts: dict[str, list[np.ndarray]] = {}
    for path, x in entries.items():
        parts.setdefault(path.rpartition("/")[0], []).append(x)
    return {path: np.concatenate(found) for path, found in parts.items()}


def _split(entries: Mapping[str, np.ndarray], like: Any) -> dict[str, np.ndarray]:
    """The same vectors apart again."""
    starts: dict[str, int] = {}
    apart = {}
    for path, x in zip(_paths(like), tf.nest.flatten(like), strict=True):
        name, start = path.rpartition("/")[0], starts.get(path.rpartition("/")[0], 0)
        starts[name] = start + x.shape[0]
        apart[path] = entries[name][start : starts[name]]
    return apart


def _paths(tree: Any) -> list[str]:
    names: list[str] = tf.nest.flatten(paths(tree))
    return names
