"""Clipping: transforms that bound gradients by value, by norm, or by their norm together."""

from __future__ import annotations

import tensorflow as tf

from trainlib.base import Optimizer, State, Tensor, Tree
from trainlib.checks import check_number
from trainlib.transforms.chain import no_state
from trainlib.tree import global_norm, leafwise, scalar


def clip_by_value_rule(g: Tensor, *, clipvalue: Tensor) -> tuple[Tensor]:
    """g = min(max(g, -clipvalue), clipvalue)."""
    return (tf.clip_by_value(g, -clipvalue, clipvalue),)


def clip_by_norm_rule(g: Tensor, *, norm: Tensor, clipnorm: Tensor) -> tuple[Tensor]:
    """g = g clipnorm / max(|g|, clipnorm); all NaN where the norm |g| is not finite."""
    not_finite_as_nan = norm - norm
    return (g * (clipnorm / tf.maximum(norm, clipnorm) + not_finite_as_nan),)


def clip_by_value(clipvalue: float) -> Optimizer:
    """Clips every element of the gradients to [-clipvalue, clipvalue]; NaN stays NaN.

    Raises:
        ValueError: a clipvalue that is not above 0.
    """
    check_number("clipvalue", clipvalue, above=0)

    def update(grads: Tree, state: State, params: Tree) -> tuple[Tree, State]:
        return leafwise(clip_by_value_rule, grads, clipvalue=clipvalue)[0], state

    return Optimizer(no_state, update)


def clip_by_norm(clipnorm: float) -> Optimizer:
    """Scales each gradient tensor whose Euclidean norm is above clipnorm down to that norm.

        g = g clipnorm / max(|g|, clipnorm)

    A zero gradient stays zero. A norm that is not finite makes the whole tensor NaN, so that it
    is seen; Keras turns the finite elements of such a tensor to 0.

    Raises:
        ValueError: a clipnorm that is not above 0 (which would switch clipping off in Keras).
    """
    check_number("clipnorm", clipnorm, above=0)

    def rule(g: Tensor) -> tuple[Tensor]:
        return clip_by_norm_rule(g, norm=global_norm(g), clipnorm=scalar(clipnorm, g))

    def update(grads: Tree, state: State, params: Tree) -> tuple[Tree, State]:
        return leafwise(rule, grads)[0], state

    return Optimizer(no_state, update)


def clip_by_global_norm(global_clipnorm: float) -> Optimizer:
    """Scales all gradients by one factor, so that their norm together is at most global_clipnorm.

        g = g global_clipnorm / max(n, global_clipnorm),  n = sqrt(sum of |g|^2 over all tensors)

    A norm that is not finite makes every gradient NaN, so that the step is seen to be bad.

    Raises:
        ValueError: a global_clipnorm that is not above 0.

    Differs from: PyTorch, which adds 1e-6 to the norm.

    Reference: Pascanu, Mikolov and Bengio 2013, "On the difficulty of training recurrent neural
    networks".
    """
    check_number("global_clipnorm", global_clipnorm, above=0)

    def update(grads: Tree, state: State, params: Tree) -> tuple[Tree, State]:
        norm = global_norm(grads)
        return leafwise(clip_by_norm_rule, grads, norm=norm, clipnorm=global_clipnorm)[0], state

    return Optimizer(no_state, update)
