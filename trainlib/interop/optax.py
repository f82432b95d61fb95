"""Optax: `state_from_optax` and `state_to_optax`.

The states in the tuples of `optax.chain` are identified by the names of their types.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from trainlib.core.tree import paths
from trainlib.core.types import Optimizer, State, Tree
from trainlib.interop.slot_table import (
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
from trainlib.transforms.states import find_states, has_state, map_states

LIBRARY = "Optax"
RMS = ("ScaleByRmsState", "ScaleByRmsWithCountState")
CENTERED = ("ScaleByRStdDevState", "ScaleByRStdDevWithCountState")
MEANS = slots(
    m="ScaleByAdamState.mu|ScaleByAmsgradState.mu", v="ScaleByAdamState.nu|ScaleByAmsgradState.nu"
)
SLOTS: dict[type, dict[str, Slot]] = {
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
"""The counterparts of the fields of each state: type and field in Optax, by preference."""
COUNTS = {"count": 0, "count_m2": 0, "t": 0, "step_count": 1}
"""Fields that count updates, with their value before the first update."""
NESTED = ("inner_state", "inner_states", "base_optimizer_state")
IGNORED = ("ns_coeffs", "hyperparams", "hyperparams_states")


def state_from_optax(
    optax_state: Any, optimizer: Optimizer, params: Tree, step: int | None = None
) -> State:
    """Return the state of an Optax optimizer as the state of a trainlib optimizer.

    Parameters are matched by their paths. Hyperparameters are not converted: build the trainlib
    optimizer with the same ones, in Optax's convention. Some optimizers have the same state in
    Optax (Adam, Yogi, LAMB): give the right one. All that both libraries have can be converted but
    `sophia`, whose estimate of the Hessian has a separate state.

    Args:
        optax_state: state of an Optax optimizer, chained to others only if they keep no arrays.
        optimizer: the trainlib optimizer that continues.
        params: its parameters, with the paths of Optax's.
        step: number of updates, if Optax's state does not count them. Default: None.

    Returns:
        A state of `optimizer`.

    Raises:
        TypeError: `optax_state` is not a state of Optax.
        ValueError: parameters, slots or shapes differ, with the difference in the message; or the
            number of updates is not known.

    Example:
        With Optax installed::

            tx = tl.adamw(1e-3, convention="optax")
            state = tl.interop.state_from_optax(optax_state, tx, params)

        A state without slots needs the step only:

        >>> params = {"w": tf.zeros([2])}
        >>> int(tl.interop.state_from_optax((), tl.sgd(0.1), params, step=3).step)
        3
    """
    table, steps = _read(optax_state)
    known = known_step(steps, step, LIBRARY)
    like = optimizer.init(params)
    if has_state(like, NadamState):
        like = _with_momentum_product(like, optimizer, params, known)
    return import_state(like, table, _field_slots, known, LIBRARY)


def state_to_optax(state: State, like: Any) -> Any:
    """Return a trainlib state as a state of an Optax optimizer.

    Args:
        state: state of a trainlib optimizer.
        like: a state of the Optax optimizer that continues, such as `optimizer.init(params)`; it
            is not changed.

    Returns:
        A state like `like`, with JAX arrays.

    Raises:
        ImportError: JAX is not installed.
        ValueError: parameters, slots or shapes differ, with the difference in the message.

    Example:
        With Optax installed (`>>>` is omitted: JAX is optional)::

            optax_state = tl.interop.state_to_optax(state, optax_optimizer.init(params))
    """
    import jax.numpy as jnp

    table, _ = _read(like)
    new = export_state(state, table, _field_slots, LIBRARY)
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

    return _map_fields(like, visit)


def _field_slots(kind: type) -> Mapping[str, Slot]:
    """Return the slots of a type of state."""
    return SLOTS.get(kind, {})


def _read(optax_state: Any) -> tuple[SlotTable, list[int]]:
    """Return the slot table of a state, and its counts of updates."""
    table: SlotTable = {}
    steps: list[int] = []

    def visit(slot: str, field: str, value: Any) -> Any:
        leaves = tf.nest.flatten(value)
        if _is_count(field, leaves):
            steps.append(int(leaves[0]) - COUNTS[field])
        elif field not in IGNORED and leaves:
            entries = dict(zip(_paths(value), map(to_array, leaves), strict=True))
            if slot == "ScaleBySM3State.mu":
                entries = _joined(entries)
            twice = entries.keys() & table.setdefault(slot, {}).keys()
            if twice:
                raise ValueError(f"two of Optax's states hold {slot} of {', '.join(sorted(twice))}")
            table[slot].update(entries)
        return value

    _map_fields(optax_state, visit)
    return table, steps


def _is_count(field: str, leaves: list[Any]) -> bool:
    """Return whether a field counts updates."""
    return field in COUNTS and np.issubdtype(to_array(leaves[0]).dtype, np.integer)


def _map_fields(state: Any, visit: Callable[[str, str, Any], Any]) -> Any:
    """Return the state with `visit(type.field, field, value)` for each field of its states."""
    if hasattr(state, "_fields"):
        name = type(state).__name__
        values = {
            field: _map_fields(value, visit)
            if field in NESTED
            else visit(f"{name}.{field}", field, value)
            for field, value in zip(state._fields, state, strict=True)
        }
        return state._replace(**values) if values else state
    if isinstance(state, Mapping):
        return type(state)({key: _map_fields(child, visit) for key, child in state.items()})  # type: ignore[call-arg]
    if isinstance(state, tuple):
        return tuple(_map_fields(child, visit) for child in state)
    raise TypeError(f"optax_state must be a state of an Optax optimizer, got {state!r}")


def _with_momentum_product(like: State, optimizer: Optimizer, params: Tree, step: int) -> State:
    """Return the state with Nadam's product P, which Optax, with its constant momentum, omits.

    An update with gradients of 0 yields the momentum, and P is its power.
    """
    zeros = tf.nest.map_structure(tf.zeros_like, params)
    _, after = optimizer.update(zeros, like, params)
    momenta = [found.P for found in find_states(after, NadamState)]
    P = momenta[0] ** tf.constant(step, tf.float64)
    return map_states(lambda found: found._replace(P=P), like, NadamState)


def _joined(entries: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the vectors of SM3, in Optax at "path/0", "path/1", ..., concatenated by parameter."""
    parts: dict[str, list[np.ndarray]] = {}
    for path, x in entries.items():
        parts.setdefault(path.rpartition("/")[0], []).append(x)
    return {path: np.concatenate(found) for path, found in parts.items()}


def _split(entries: Mapping[str, np.ndarray], like: Any) -> dict[str, np.ndarray]:
    """Return concatenated vectors of SM3 as separate ones."""
    starts: dict[str, int] = {}
    apart = {}
    for path, x in zip(_paths(like), tf.nest.flatten(like), strict=True):
        name, start = path.rpartition("/")[0], starts.get(path.rpartition("/")[0], 0)
        starts[name] = start + x.shape[0]
        apart[path] = entries[name][start : starts[name]]
    return apart


def _paths(tree: Any) -> list[str]:
    """Return the paths of the leaves."""
    names: list[str] = tf.nest.flatten(paths(tree))
    return names
