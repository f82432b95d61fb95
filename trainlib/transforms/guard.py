"""Guards against gradients that are not finite: `apply_if_finite` and `zero_nans`."""

from __future__ import annotations

from typing import Any, NamedTuple

import tensorflow as tf

from trainlib.core.finite import all_finite
from trainlib.core.tree import leafwise
from trainlib.core.types import Optimizer, State, Tensor, Tree, forwarded_args, update_with
from trainlib.transforms.chain import no_state
from trainlib.transforms.checks import check_optimizer
from trainlib.transforms.states import select, updates_if


class ApplyIfFiniteState(NamedTuple):
    """step: updates made, int64 []. skipped: calls without one, int64 [].

    skipped_in_a_row: those since the last update, int64 []. inner: the optimizer's.
    """

    step: Tensor
    skipped: Tensor
    skipped_in_a_row: Tensor
    inner: State


def apply_if_finite(optimizer: Optimizer) -> Optimizer:
    """The optimizer, with nothing changed by a step whose gradients are not all finite.

    Such a step changes no bit of the parameters and of the optimizer's state; it is counted.
    Replicas must be given the gradients' sum over all of them, so that they decide alike.

        apply_if_finite(chain(clip_by_global_norm(1.0), adam()))

    Args:
        optimizer: is given the gradients, and its result dropped where they are not finite.

    Differs from: Optax, which applies the bad step after too many in a row; here a loop stops or
    goes on by `state.skipped_in_a_row`. Keras's `LossScaleOptimizer` decides on one replica.
    """
    check_optimizer(optimizer, "apply_if_finite")

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


def zero_nans_rule(g: Tensor) -> tuple[Tensor]:
    """g = 0 where g is NaN."""
    return (tf.where(tf.math.is_nan(g), tf.zeros_like(g), g),)


def zero_nans() -> Optimizer:
    """Puts 0 in the place of every NaN in the gradients; infinities stay.

    It hides an error of the model: `apply_if_finite` skips the step instead.

    Differs from: Optax, which remembers where it found them.
    """

    def update(grads: Tree, state: State, params: Tree) -> tuple[Tree, State]:
        return leafwise(zero_nans_rule, grads)[0], state

    return Optimizer(no_state, update)
