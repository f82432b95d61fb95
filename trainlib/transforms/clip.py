"""Clipping: transforms that bound gradients by value, by norm, by their norm together, or by the
norm of the weights."""

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

    Args:
        clipvalue: the largest magnitude of an element of the gradients, above 0.

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

    Args:
        clipnorm: the largest norm of each gradient tensor, above 0.

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

    Args:
        global_clipnorm: the largest norm of all gradients together, above 0.

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


def adaptive_clip_rule(g: Tensor, *, w: Tensor, clipping: Tensor, eps: Tensor) -> tuple[Tensor]:
    """g = g min(1, clipping max(|w|, eps) / |g|), for the weights of each unit."""
    norm, bound = _unit_norm(g), clipping * tf.maximum(_unit_norm(w), eps)
    clipped = g * (bound / tf.maximum(norm, 1e-6))
    return (tf.where(norm < bound, g, clipped),)


def adaptive_clip(clipping: float = 0.01, eps: float = 1e-3) -> Optimizer:
    """Adaptive gradient clipping: no unit's gradient is larger than a share of its weights.

        g = g min(1, clipping max(|w|, eps) / |g|)

    The norms are those of the weights that lead to one unit: over all axes but the last. A
    vector, and a tensor with one axis longer than 1, has one norm.

    Args:
        clipping: the share, above 0.
        eps: what the norm of the weights counts at least, above 0, so that weights of 0 move.

    Raises:
        ValueError, TypeError: an argument out of its range, or of another type.

    Differs from: Optax, which takes a kernel of three axes for a multihead one: its norms are over
    the first axis only.

    Reference: Brock, De, Smith and Simonyan 2021, "High-Performance Large-Scale Image Recognition
    Without Normalization".
    """
    check_number("clipping", clipping, above=0)
    check_number("eps", eps, above=0)

    def update(grads: Tree, state: State, params: Tree) -> tuple[Tree, State]:
        (updates,) = leafwise(adaptive_clip_rule, grads, params=params, clipping=clipping, eps=eps)
        return updates, state

    return Optimizer(no_state, update)


def _unit_norm(x: Tensor) -> Tensor:
    """The Euclidean norm of the weights of each unit, ready to be broadcast."""
    long_axes = sum(size != 1 for size in x.shape)
    axes = None if long_axes <= 1 else list(range(x.shape.rank - 1))
    return tf.sqrt(tf.reduce_sum(tf.square(x), axes, keepdims=True))
