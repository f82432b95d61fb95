"""Averages of the parameters, which evaluation uses instead of the trained parameters.

The state of an average holds `{"params": ..., "model_state": ...}`: all parameters, and the entries
of the model state that are averaged with them, such as the statistics of batch normalization.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from trainlib.core.types import (
    Optimizer,
    State,
    Tensor,
    Tree,
    apply_updates,
    check_optimizer,
    update_with,
)
from trainlib.transforms.averages import averaged_params, averages_in
from trainlib.transforms.states import select

PARAMS, MODEL_STATE = "params", "model_state"


def check_average(value: Any) -> None:
    """Raise `TypeError` or `ValueError` unless a value is `tl.ema(...)` or `tl.swa(...)`."""
    check_optimizer("average", value)
    if not any(averages_in(value.init(tf.zeros([])))):
        raise ValueError("average must be tl.ema(...) or tl.swa(...), not another Optimizer")


def init_average(
    average: Optimizer | None, params: Tree, model_state: Tree, names: Sequence[str]
) -> State:
    """Return the state of an average before the first step; `()` for None.

    Args:
        average: `tl.ema(...)` or `tl.swa(...)`, or None.
        params: the parameters.
        model_state: the model's other tensors, a dict by path if `names` is not empty.
        names: keys of the model state that are averaged too.
    """
    return () if average is None else average.init(_averaged(params, entries(model_state, names)))


def entries(model_state: Tree, names: Sequence[str]) -> dict[str, Tensor]:
    """Return the entries of a model state with some names; {} for no names."""
    return {name: model_state[name] for name in names}


def update_average(
    average: Optimizer, state: State, params: Tree, model_state: Tree, made: Tensor | None
) -> tuple[Tree, State]:
    """Return the parameters after a step, which the average may overwrite, and its new state.

    Args:
        average: `tl.ema(...)` or `tl.swa(...)`.
        state: state of the average.
        params: the parameters after the update.
        model_state: the entries of the model state that are averaged, after the step.
        made: whether the step updated the parameters, bool []; None if every step does.
    """
    seen = _averaged(params, model_state)
    nothing = tf.nest.map_structure(lambda _: None, seen)
    updates, new = update_with(average, nothing, state, seen)
    overwritten = apply_updates(params, updates[PARAMS])
    if made is None:
        return overwritten, new
    return select(made, overwritten, params), select(made, new, state)


def averaged_weights(state: Any) -> tuple[Tree, Tree]:
    """Return the parameters and the model state for evaluation.

    With `StepConfig.average` they are averages, in the dtypes of the model; entries of the model
    state that are not averaged are the current ones. Without it they are those of the state.

    Args:
        state: a `TrainState`.

    Returns:
        `(params, model_state)`.

    Example:
        >>> config = tl.StepConfig(
        ...     lambda w, state, x, training: tl.ModelOutput(x * w),
        ...     tl.losses.mean_squared_error, tl.sgd(0.25), average=tl.swa())
        >>> state = tl.init_state(tf.constant([1.0]), (), config.optimizer, average=config.average)
        >>> for _ in range(2):
        ...     state, _ = tl.train_step(config)(state, (tf.ones([4, 1]), tf.zeros([4, 1])))
        >>> params, _ = tl.averaged_weights(state)
        >>> float(state.params[0]), float(params[0])  # after 0.5 and 0.25
        (0.25, 0.375)
    """
    if state.average == ():
        return state.params, state.model_state
    held = average_of(state.average)
    kept = entries(state.model_state, list(held[MODEL_STATE]))
    found = averaged_params(state.average, _averaged(state.params, kept))
    model_state = {**state.model_state, **found[MODEL_STATE]} if kept else state.model_state
    return found[PARAMS], model_state


def average_of(state: Any) -> Any:
    """Return the average in the state of an average: a dict of params and model_state."""
    return next(averages_in(state)).average


def _averaged(params: Tree, model_state: dict[str, Tensor]) -> dict[str, Tree]:
    return {PARAMS: params, MODEL_STATE: model_state}
