"""Optimizers around an optimizer: `sam` and `lookahead`."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from trainlib.core.checks import check_number
from trainlib.core.tree import global_norm, leafwise, widen
from trainlib.core.types import Optimizer, State, Tensor, Tree
from trainlib.transforms.checks import check_count, check_optimizer
from trainlib.transforms.states import select


class SamState(NamedTuple):
    """step: calls made, int64 []. center: w, like the parameters. inner: the optimizer's."""

    step: Tensor
    center: Tree
    inner: State


def sam_rule(
    g: Tensor, center: Tensor, *, w: Tensor, norm: Tensor, rho: Tensor, climbs: Tensor
) -> tuple[Tensor, Tensor]:
    """u = rho g / |g| from the center; back to it from elsewhere."""
    climb = rho * tf.math.divide_no_nan(g, norm)
    return tf.where(climbs > 0, climb, center - w), tf.where(climbs > 0, w, center)


def sam(optimizer: Optimizer, rho: float = 0.05) -> Optimizer:
    """Sharpness-aware minimization: the gradient of the worst point near by, at the point itself.

        odd calls     w -> w + rho g(w) / |g(w)|               |g|: norm over all the parameters
        even calls    w + e -> w + u,  u of g(w + e)           u: the optimizer's update at w

    One update takes two calls, and the two are to see the same batch. In between the parameters
    are those of the neighbor, w + e; evaluate after even calls. `state.step` counts calls, the
    optimizer's own step updates.

        sam(sgd(0.1, momentum=0.9), rho=0.05)

    Args:
        optimizer: what makes the update.
        rho: radius of the neighborhood, at least 0.

    Raises:
        ValueError, TypeError: a rho that is not a number of at least 0.

    Differs from: Optax's `contrib.sam` with `normalize` and `sgd(rho)` in nothing but a gradient
    of 0, which makes its parameters NaN.

    Reference: Foret, Kleiner, Mobahi and Neyshabur 2021, "Sharpness-Aware Minimization for
    Efficiently Improving Generalization".
    """
    check_optimizer(optimizer, "sam")
    check_number("rho", rho, at_least=0)

    def init(params: Tree) -> SamState:
        center = tf.nest.map_structure(widen, params)
        return SamState(tf.zeros([], tf.int64), center, optimizer.init(params))

    def update(grads: Tree, state: State, params: Tree) -> tuple[Tree, SamState]:
        climbs = state.step % 2 == 0
        moves, center = leafwise(
            sam_rule,
            grads,
            state.center,
            params=params,
            norm=global_norm(grads),
            rho=rho,
            climbs=climbs,
        )
        at = tf.nest.map_structure(lambda c, w: tf.cast(c, w.dtype), center, params)
        updates, inner = optimizer.update(grads, state.inner, at)

        def descend(move: Tensor, u: Tensor) -> Tensor:
            return move if u is None else tf.where(climbs, move, move + u)

        return tf.nest.map_structure(descend, moves, updates), SamState(
            state.step + 1, center, select(climbs, state.inner, inner)
        )

    return Optimizer(init, update)


class LookaheadState(NamedTuple):
    """step: updates made, int64 []. slow: phi, like the parameters. inner: the optimizer's."""

    step: Tensor
    slow: Tree
    inner: State


def lookahead_rule(
    u: Tensor, slow: Tensor, *, w: Tensor, slow_step_size: Tensor, syncs: Tensor
) -> tuple[Tensor, Tensor]:
    """phi = phi + alpha (w + u - phi), and w = phi, where the two meet; w = w + u elsewhere."""
    met = slow + slow_step_size * (w + u - slow)
    return tf.where(syncs > 0, met - w, u), tf.where(syncs > 0, met, slow)


def lookahead(fast: Optimizer, sync_period: int = 5, slow_step_size: float = 0.5) -> Optimizer:
    """Lookahead: k steps forward, then back to a point on the way.

        w_t = w_(t-1) + u_t                                    u_t: the fast optimizer's update
        every k-th t:  phi = phi + alpha (w_t - phi),  w_t = phi

    Args:
        fast: the optimizer whose steps they are; its state goes on where they meet.
        sync_period: k, at least 1.
        slow_step_size: alpha, in [0, 1].

    Raises:
        ValueError, TypeError: an argument out of its range, or of another type.

    Differs from: Optax in the slow weights' place only: here they are in the state.

    Reference: Zhang, Lucas, Hinton and Ba 2019, "Lookahead Optimizer: k steps forward, 1 step
    back".
    """
    check_optimizer(fast, "lookahead")
    check_count("sync_period", sync_period)
    check_number("slow_step_size", slow_step_size, at_least=0, at_most=1)

    def init(params: Tree) -> LookaheadState:
        slow = tf.nest.map_structure(widen, params)
        return LookaheadState(tf.zeros([], tf.int64), slow, fast.init(params))

    def update(grads: Tree, state: State, params: Tree) -> tuple[Tree, LookaheadState]:
        t = state.step + 1
        updates, inner = fast.update(grads, state.inner, params)
        updates, slow = leafwise(
            lookahead_rule,
            updates,
            state.slow,
            params=params,
            slow_step_size=slow_step_size,
            syncs=t % sync_period == 0,
        )
        return updates, LookaheadState(t, slow, inner)

    return Optimizer(init, update)
