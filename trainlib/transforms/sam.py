"""Sharpness-aware minimization: an optimizer with the gradient at a nearby point of higher loss."""

from __future__ import annotations

from typing import Any, NamedTuple

import tensorflow as tf

from trainlib.core.checks import check_number
from trainlib.core.norms import global_norm
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
from trainlib.transforms.states import select


class SamState(NamedTuple):
    """State of `sam`.

    Attributes:
        step: calls made, two for an update, int64 [].
        center: w, the parameters of the last update, float32 or wider.
        inner: the state of the optimizer.
    """

    step: Tensor
    center: Tree
    inner: State


def sam_leaf(
    g: Tensor, center: Tensor, *, w: Tensor, norm: Tensor, rho: Tensor, climbs: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the move, e = rho g / |g| at the center and back to it elsewhere, and the center."""
    climb = rho * tf.math.divide_no_nan(g, norm)
    return tf.where(climbs > 0, climb, center - w), tf.where(climbs > 0, w, center)


def sam(optimizer: Optimizer, rho: float = 0.05) -> Optimizer:
    """Sharpness-aware minimization (SAM).

        odd calls     w -> w + e,  e = rho g(w) / |g(w)|       |g|: norm over all parameters
        even calls    w + e -> w + u,  u of g(w + e)           u: the optimizer's update at w

    An update takes two calls, and both should see the same batch. Between them the parameters are
    those of the neighbor, w + e: evaluate after even calls. `state.step` counts calls, the step of
    the optimizer counts updates. The last batch of an epoch (`last`) closes the window of an inner
    `accumulate` on even calls only.

    Args:
        optimizer: the optimizer that makes the update.
        rho: radius of the neighborhood, at least 0. Default: 0.05.

    Returns:
        An `Optimizer` whose state is a `SamState`.

    Raises:
        ValueError: `rho` is below 0.
        TypeError: `rho` is not a number, or `optimizer` is not an `Optimizer`.

    Example:
        >>> tx = tl.sam(tl.sgd(0.5), rho=0.25)
        >>> w = tf.constant(1.0)
        >>> state = tx.init(w)
        >>> for _ in range(2):
        ...     updates, state = tx.update(w, state, w)  # the gradient of w^2 / 2
        ...     w = tl.apply_updates(w, updates)
        ...     print(float(w))
        1.25
        0.375

    Differences:
        Optax: `contrib.sam` with `normalize` and `sgd(rho)` agrees, except that the parameters
            become NaN at a gradient of 0.

    References:
        Foret, Kleiner, Mobahi and Neyshabur 2021, "Sharpness-Aware Minimization for Efficiently
        Improving Generalization".
    """
    check_optimizer("optimizer of sam", optimizer)
    check_number("rho", rho, at_least=0)

    def init(params: Tree) -> SamState:
        center = tf.nest.map_structure(widen, params)
        return SamState(tf.zeros([], tf.int64), center, optimizer.init(params))

    def update(grads: Tree, state: State, params: Tree, **extra: Any) -> tuple[Tree, SamState]:
        climbs = state.step % 2 == 0
        moves, center = leafwise(
            sam_leaf,
            grads,
            state.center,
            params=params,
            norm=global_norm(grads),
            rho=rho,
            climbs=climbs,
        )
        at = tf.nest.map_structure(lambda c, w: tf.cast(c, w.dtype), center, params)
        updates, inner = update_with(optimizer, grads, state.inner, at, **extra)

        def descend(move: Tensor, u: Tensor) -> Tensor:
            return move if u is None else tf.where(climbs, move, move + u)

        return tf.nest.map_structure(descend, moves, updates), SamState(
            state.step + 1, center, select(climbs, state.inner, inner)
        )

    return Optimizer(init, update, forwarded_args(optimizer))
