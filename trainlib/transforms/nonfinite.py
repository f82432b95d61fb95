"""Transforms for gradients that are not finite: `apply_if_finite` and `zero_nans`."""

from __future__ import annotations

from typing import Any, NamedTuple

import tensorflow as tf

from trainlib.core.finite import all_finite
from trainlib.core.tree import leafwise
from trainlib.core.types import (
    Optimizer,
    State,
    Tensor,
    Tree,
    check_optimizer,
    forwarded_args,
    update_with,
)
from trainlib.transforms.chain import no_state
from trainlib.transforms.states import select, updates_if


class ApplyIfFiniteState(NamedTuple):
    """State of `apply_if_finite`.

    Attributes:
        step: updates made, int64 [].
        skipped: calls without an update, int64 [].
        skipped_in_a_row: those since the last update, int64 [].
        inner: the state of the optimizer.
    """

    step: Tensor
    skipped: Tensor
    skipped_in_a_row: Tensor
    inner: State


def apply_if_finite(optimizer: Optimizer) -> Optimizer:
    """Skip updates whose gradients are not all finite.

    A skipped update leaves the parameters and the optimizer's state unchanged, bit for bit, and is
    counted. Replicas must pass the sum of the gradients over all of them, so that all skip the same
    updates.

    Args:
        optimizer: the optimizer; its result is dropped where the gradients are not finite.

    Returns:
        An `Optimizer` whose state is an `ApplyIfFiniteState`.

    Raises:
        TypeError: `optimizer` is not an `Optimizer`.

    Example:
        >>> tx = tl.apply_if_finite(tl.sgd(0.5))
        >>> w = tf.constant(1.0)
        >>> updates, state = tx.update(tf.constant(np.nan, tf.float32), tx.init(w), w)
        >>> float(tl.apply_updates(w, updates)), int(state.skipped)
        (1.0, 1)

    Differences:
        Keras: `LossScaleOptimizer` decides on one replica.
        Optax: after too many skipped updates in a row the update is applied; here a loop can stop
            when `state.skipped_in_a_row` is too large.
    """
    check_optimizer("optimizer of apply_if_finite", optimizer)

    def init(params: Tree) -> ApplyIfFiniteState:
        zero = tf.zeros([], tf.int64)
        return ApplyIfFiniteState(zero, zero, zero, optimizer.init(params))

    def update(
        grads: Tree, state: State, params: Tree, **extra: Any
    ) -> tuple[Tree, ApplyIfFiniteState]:
        finite = all_finite(grads)
        updates, inner = update_with(optimizer, grads, state.inner, params, **extra)
        bad = tf.cast(~finite, tf.int64)
        return updates_if(finite, updates), ApplyIfFiniteState(
            state.step + 1 - bad,
            state.skipped + bad,
            (state.skipped_in_a_row + 1) * bad,
            select(finite, inner, state.inner),
        )

    return Optimizer(init, update, forwarded_args(optimizer))


def zero_nans_leaf(g: Tensor) -> tuple[Tensor]:
    """Return g with 0 where it is NaN."""
    return (tf.where(tf.math.is_nan(g), tf.zeros_like(g), g),)


def zero_nans() -> Optimizer:
    """Replace every NaN in the gradients by 0; infinities stay.

    It hides a fault of the model: prefer `apply_if_finite`, which skips the update.

    Returns:
        An `Optimizer` without state.

    Example:
        >>> updates, _ = tl.zero_nans().update(tf.constant([np.nan, 2.0]), (), None)
        >>> updates.numpy().tolist()
        [0.0, 2.0]

    Differences:
        Optax: `zero_nans` keeps in its state which gradients had a NaN.
    """

    def update(grads: Tree, state: State, params: Tree) -> tuple[Tree, State]:
        return leafwise(zero_nans_leaf, grads)[0], state

    return Optimizer(no_state, update)
