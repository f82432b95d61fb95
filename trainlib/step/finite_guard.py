"""The finite guard: a step whose loss or gradients are not finite is skipped and counted.

A skipped step changes nothing in the training state but the guard's counters and the loss scale.
"""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from trainlib.core.tree import leaves_by_path
from trainlib.core.types import Tensor, Tree

THE_LOSS = "the loss"
"""Result of `nonfinite_path` if the loss itself was not finite."""
A_PARAMETER = "the parameter"
"""Prefix of the path of a parameter that is not finite, in error messages."""


class FiniteGuardState(NamedTuple):
    """State of the finite guard.

    Attributes:
        skipped: steps skipped so far, int64 [].
        skipped_in_a_row: steps skipped since the last update, int64 [].
        nonfinite_index: the first gradient that was not finite at the last skipped step, in the
            order of `tf.nest.flatten`, int64 []; the number of gradients where it was the loss; -1
            before a step is skipped.
        exhausted: whether the last step was skipped and no lower loss scale is left to try, bool
            [].
    """

    skipped: Tensor
    skipped_in_a_row: Tensor
    nonfinite_index: Tensor
    exhausted: Tensor


def init_finite_guard() -> FiniteGuardState:
    """Return the state of the finite guard before the first step."""
    zero = tf.zeros([], tf.int64)
    return FiniteGuardState(zero, zero, tf.constant(-1, tf.int64), tf.constant(False))


def update_finite_guard(
    state: FiniteGuardState, nonfinite_index: Tensor, exhausted: Tensor = True
) -> FiniteGuardState:
    """Return the guard's state after a step.

    Args:
        state: the state before the step.
        nonfinite_index: as in `FiniteGuardState`; -1 where the loss and all gradients are finite.
        exhausted: whether no lower loss scale is left to try, bool []; True without a loss scale.
    """
    is_finite = nonfinite_index < 0
    bad = tf.cast(~is_finite, tf.int64)
    return FiniteGuardState(
        skipped=state.skipped + bad,
        skipped_in_a_row=(state.skipped_in_a_row + 1) * bad,
        nonfinite_index=tf.where(is_finite, state.nonfinite_index, nonfinite_index),
        exhausted=~is_finite & exhausted,
    )


def nonfinite_path(state: FiniteGuardState, params: Tree) -> str | None:
    """Return the path of the first gradient that was not finite at the last skipped step.

    It reads the value of the state, so it cannot be traced in a `tf.function`.

    Args:
        state: the guard's state, `TrainState.finite_guard`.
        params: the parameters, for their paths.

    Returns:
        The path of the parameter; "the loss" if the loss was not finite; None if no step has
        been skipped.

    Example:
        >>> config = tl.StepConfig(
        ...     lambda w, state, x, training: tl.ModelOutput(w * x),
        ...     tl.losses.mean_squared_error, tl.sgd(0.1), finite_guard=True)
        >>> state = tl.init_state(tf.constant([1.0]), (), config.optimizer, finite_guard=True)
        >>> batch = tf.constant([[np.inf]]), tf.constant([[1.0]])
        >>> state, _ = tl.train_step(config)(state, batch)
        >>> tl.nonfinite_path(state.finite_guard, state.params)
        'the loss'
        >>> int(state.finite_guard.skipped), float(state.params[0])
        (1, 1.0)
    """
    index, leaves = int(state.nonfinite_index), leaves_by_path(params)
    if index == len(leaves):
        return THE_LOSS
    return None if index < 0 else leaves[index][0]
