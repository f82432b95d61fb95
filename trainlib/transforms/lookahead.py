"""Lookahead: an optimizer whose parameters are moved back towards slow weights at intervals."""

from __future__ import annotations

from typing import Any, NamedTuple

import tensorflow as tf

from trainlib.core.checks import check_integer, check_number
from trainlib.core.tree import leafwise, widen
from trainlib.core.types import (
    Optimizer,
    State,
    Tensor,
    Tree,
    check_optimizer,
    forwarded_args,
    update_with,
)


class LookaheadState(NamedTuple):
    """State of `lookahead`.

    Attributes:
        step: updates made, int64 [].
        slow: phi, the slow weights, like the parameters, float32 or wider.
        inner: the state of the fast optimizer.
    """

    step: Tensor
    slow: Tree
    inner: State


def lookahead_leaf(
    u: Tensor, slow: Tensor, *, w: Tensor, slow_step_size: Tensor, syncs: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the update and phi: at a synchronization w = phi = phi + alpha (w + u - phi)."""
    synced = slow + slow_step_size * (w + u - slow)
    return tf.where(syncs > 0, synced - w, u), tf.where(syncs > 0, synced, slow)


def lookahead(fast: Optimizer, sync_period: int = 5, slow_step_size: float = 0.5) -> Optimizer:
    """Lookahead: k steps of a fast optimizer, then a move back towards their start.

        w_t = w_(t-1) + u_t                                    u_t: the fast optimizer's update
        every k-th t:  phi = phi + alpha (w_t - phi),  w_t = phi

    Args:
        fast: the optimizer that makes the steps. Its state is kept at a synchronization.
        sync_period: k, steps between synchronizations, an integer of at least 1. Default: 5.
        slow_step_size: alpha, in [0, 1]. Default: 0.5.

    Returns:
        An `Optimizer` whose state is a `LookaheadState`.

    Raises:
        ValueError: an argument is out of its range.
        TypeError: an argument is of another type.

    Example:
        >>> tx = tl.lookahead(tl.sgd(1.0), sync_period=2, slow_step_size=0.5)
        >>> w = tf.constant(4.0)
        >>> state = tx.init(w)
        >>> for _ in range(2):
        ...     updates, state = tx.update(tf.constant(1.0), state, w)
        ...     w = tl.apply_updates(w, updates)
        ...     print(float(w))
        3.0
        3.0

    Differences:
        Optax: the slow weights are kept beside the parameters; here they are in the state.

    References:
        Zhang, Lucas, Hinton and Ba 2019, "Lookahead Optimizer: k steps forward, 1 step back".
    """
    check_optimizer("fast of lookahead", fast)
    check_integer("sync_period", sync_period, at_least=1)
    check_number("slow_step_size", slow_step_size, at_least=0, at_most=1)

    def init(params: Tree) -> LookaheadState:
        slow = tf.nest.map_structure(widen, params)
        return LookaheadState(tf.zeros([], tf.int64), slow, fast.init(params))

    def update(
        grads: Tree, state: State, params: Tree, **extra: Any
    ) -> tuple[Tree, LookaheadState]:
        t = state.step + 1
        updates, inner = update_with(fast, grads, state.inner, params, **extra)
        updates, slow = leafwise(
            lookahead_leaf,
            updates,
            state.slow,
            params=params,
            slow_step_size=slow_step_size,
            syncs=t % sync_period == 0,
        )
        return updates, LookaheadState(t, slow, inner)

    return Optimizer(init, update, forwarded_args(fast))
