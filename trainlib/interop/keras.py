"""Keras: `optimizer_from_keras` and `state_to_keras`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from trainlib.core.types import Optimizer, State
from trainlib.interop import keras_slots
from trainlib.interop.keras_optimizers import counterpart_of, with_options
from trainlib.interop.slot_table import (
    check_names,
    export_state,
    import_state,
    map_fields,
    step_of,
    to_array,
)
from trainlib.transforms.accumulate import AccumulateState
from trainlib.transforms.mask import partition
from trainlib.transforms.nonfinite import ApplyIfFiniteState, apply_if_finite
from trainlib.transforms.states import find_states

LIBRARY = "Keras"


def optimizer_from_keras(
    keras_optimizer: Any, model: Any = None, *, micro_batch_weight: float = 1.0
) -> tuple[Optimizer, State]:
    """Return the trainlib optimizer that continues a Keras optimizer, and its state.

    It has the same hyperparameters, learning rate or schedule, weight decay and exclusions from
    it, clipping, averages, accumulation, and the constraints of the variables. The state is that of
    a dict of parameters by path, as in `Trainer`. A `MultiOptimizer` becomes a `partition`. The
    inner optimizer of a `LossScaleOptimizer` becomes an `apply_if_finite`; its loss scale is not
    converted. A `loss_scale_factor` cancels in the updates and is omitted. At its end `fit`
    replaces the parameters by the averages of `use_ema`.

    Args:
        keras_optimizer: a built optimizer of Keras, of any type.
        model: the Keras model, or a dict of variables by path. Default: None, the variables' own
            paths, which may begin with the name of the model.
        micro_batch_weight: weight of a micro-batch in `accumulate`, the number of its examples in
            `train_step`. Default: 1. It matters if Keras stopped between two updates of an
            accumulating optimizer.

    Returns:
        The optimizer and its state.

    Raises:
        ValueError: the optimizer is not built, has other variables than the model, or is a
            subclass of the user's; or it averages and accumulates, in which case Keras averages
            after each micro-batch.

    Example:
        >>> import keras
        >>> model = tl.models.mlp((4,), 3, hidden=())
        >>> model.compile(keras.optimizers.Adam(0.01), "mse")
        >>> _ = model.fit(np.ones((8, 4)), np.ones((8, 3)), batch_size=4, verbose=0)
        >>> tx, opt_state = tl.interop.optimizer_from_keras(model.optimizer, model)
        >>> int(opt_state[0].step)
        2
        >>> trainer = tl.Trainer(model, "mean_squared_error", tx, execution="graph")
        >>> trainer.state = trainer.state._replace(opt_state=opt_state)

    Differences:
        Keras: in float64 hyperparameters are rounded to float32; here they are not.
    """
    named = keras_slots.variables_by_path(keras_optimizer, model)
    return _from_keras(keras_optimizer, named, micro_batch_weight)


def state_to_keras(state: State, keras_optimizer: Any, model: Any = None) -> None:
    """Assign a trainlib state to the variables of a Keras optimizer.

    Its hyperparameters, its learning rate and its loss scale are not changed.

    Args:
        state: the state of the optimizer that `optimizer_from_keras` returned, or of another with
            the same options.
        keras_optimizer: a built optimizer: `optimizer.build(model.trainable_variables)`.
        model: as in `optimizer_from_keras`. Default: None.

    Raises:
        ValueError: the optimizer is not built, or parameters, slots or shapes differ; the message
            lists the differences.

    Example:
        >>> import keras
        >>> model, tx = tl.models.mlp((4,), 3, hidden=()), tl.adam(0.01)
        >>> trainer = tl.Trainer(model, "mean_squared_error", tx, execution="graph")
        >>> _ = trainer.fit((np.ones((8, 4), "float32"), np.ones((8, 3), "float32")), batch_size=4)
        >>> model.compile(keras.optimizers.Adam(0.01), "mse")
        >>> model.optimizer.build(model.trainable_variables)
        >>> tl.interop.state_to_keras(trainer.state.opt_state, model.optimizer, model)
        >>> int(model.optimizer.iterations.numpy())
        2
    """
    _to_keras(state, keras_optimizer, keras_slots.variables_by_path(keras_optimizer, model))


def _from_keras(
    keras_optimizer: Any, named: dict[str, Any], weight: float
) -> tuple[Optimizer, State]:
    """Return the optimizer and its state for the variables of these paths."""
    kind = type(keras_optimizer).__name__
    if kind == "LossScaleOptimizer":
        inner, state = _from_keras(keras_optimizer.inner_optimizer, named, weight)
        optimizer = apply_if_finite(inner)
        guard = optimizer.init(_values(named))
        updates, _ = keras_slots.update_count(keras_optimizer.inner_optimizer)
        return optimizer, guard._replace(step=tf.constant(updates, tf.int64), inner=state)
    if kind == "MultiOptimizer":
        groups = keras_slots.groups(keras_optimizer, named)
        parts = {label: _from_keras(*group, weight) for label, group in groups.items()}
        labels = {path: label for label, (_, part) in groups.items() for path in part}
        optimizers = {label: optimizer for label, (optimizer, _) in parts.items()}
        return partition(optimizers, labels.__getitem__), {
            label: state for label, (_, state) in parts.items()
        }
    optimizer = with_options(counterpart_of(keras_optimizer, named), keras_optimizer, named)
    state = import_state(
        optimizer.init(_values(named)),
        keras_slots.read(keras_optimizer, named, weight),
        keras_slots.field_slots(keras_optimizer, weight),
        keras_slots.update_count(keras_optimizer)[0],
        LIBRARY,
    )
    return optimizer, state


def _to_keras(state: State, keras_optimizer: Any, named: dict[str, Any]) -> None:
    """Assign a state to the optimizer's variables of these paths."""
    kind = type(keras_optimizer).__name__
    if kind == "LossScaleOptimizer":
        inner = state.inner if isinstance(state, ApplyIfFiniteState) else state
        _to_keras(inner, keras_optimizer.inner_optimizer, named)
        return
    if kind == "MultiOptimizer":
        groups = keras_slots.groups(keras_optimizer, named)
        if not isinstance(state, Mapping):
            raise ValueError("a MultiOptimizer of Keras takes the state of a partition")
        check_names(state, groups, "groups", LIBRARY)
        for label, group in groups.items():
            _to_keras(state[label], *group)
        keras_optimizer.iterations.assign(max(step_of(part) for part in state.values()))
        return
    counterpart = counterpart_of(keras_optimizer, named)
    like = with_options(counterpart, keras_optimizer, named).init(_values(named))
    if _optimizer_states(state) != _optimizer_states(like):
        raise ValueError(
            f"Keras's {kind} takes {', '.join(sorted(_optimizer_states(like)))}, got "
            f"{', '.join(sorted(_optimizer_states(state))) or 'the state of no optimizer'}"
        )
    windows = list(find_states(state, AccumulateState))
    micro_step = int(windows[0].micro_step) if windows else 0
    weight = float(windows[0].weight_sum) / micro_step if micro_step else 1.0
    table = keras_slots.read(keras_optimizer, named, weight)
    slots = keras_slots.field_slots(keras_optimizer, weight)
    keras_slots.write(export_state(state, table, slots, LIBRARY), keras_optimizer, named)
    every_k = keras_optimizer.gradient_accumulation_steps or 1
    keras_optimizer._iterations.assign(step_of(state) * every_k + micro_step)


def _values(named: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of variables as tensors."""
    return {path: tf.constant(to_array(variable)) for path, variable in named.items()}


def _optimizer_states(state: State) -> set[str]:
    """Return the type names of the optimizer states in a state, without those of transforms."""
    kinds: set[str] = set()

    def visit(owner: Any, field: str, value: Any) -> Any:
        if type(owner).__module__.startswith("trainlib.optimizers"):
            kinds.add(type(owner).__name__)
        return value

    map_fields(state, visit)
    return kinds
