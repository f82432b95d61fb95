"""Clipping: transforms that bound gradients by value, by norm, by their norm together, or by the
norm of the weights.

What is within the bound, or on it, stays as it is to the bit; zeros stay zeros. A gradient of None
stays None and does not count. Norms are right also where the squares of the elements overflow. By
value an infinity is clipped, and NaN stays NaN. By norm an infinity or a NaN makes all that shares
the norm NaN, so that a bad step is seen, and `apply_if_finite` or the loss scale can skip it:

    bound 1         by value      clip_by_norm     clip_by_global_norm
    [0, 0]          [0, 0]        [0, 0]           [0, 0]
    [inf, 1]        [1, 1]        [nan, nan]       all nan
    [nan, 1]        [nan, 1]      [nan, nan]       all nan
    [1e200, 1]      [1, 1]        [1, 1e-200]      [1, 1e-200]
"""

from __future__ import annotations

import tensorflow as tf

import trainlib.core.norms as norms
from trainlib.core.checks import check_number
from trainlib.core.tree import leafwise
from trainlib.core.types import Optimizer, State, Tensor, Tree
from trainlib.transforms.chain import no_state


def clip_by_value_rule(g: Tensor, *, clipvalue: Tensor) -> tuple[Tensor]:
    """g = min(max(g, -clipvalue), clipvalue)."""
    return (tf.clip_by_value(g, -clipvalue, clipvalue),)


def clip_by_norm_rule(g: Tensor, *, norm: Tensor, clipnorm: Tensor) -> tuple[Tensor]:
    """g = g clipnorm / norm where the norm is above clipnorm; NaN where it is not finite."""
    not_finite_as_nan = norm - norm
    # Divided first: clipnorm / norm may underflow.
    clipped = g / tf.maximum(norm, clipnorm) * clipnorm + not_finite_as_nan
    return (tf.where(norm <= clipnorm, g, clipped),)


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

    A zero gradient stays zero. A norm that is not finite makes the whole tensor NaN.

    Args:
        clipnorm: the largest norm of each gradient tensor, above 0.

    Raises:
        ValueError: a clipnorm that is not above 0 (which would switch clipping off in Keras).

    Differs from: Keras, which turns the finite elements beside an infinity, and all elements of a
    tensor whose squares overflow, to 0; PyTorch, which adds 1e-6 to the norm.
    """
    check_number("clipnorm", clipnorm, above=0)

    def rule(g: Tensor) -> tuple[Tensor]:
        return clip_by_norm_rule(g, norm=tf.reshape(norms.norm(g), []), clipnorm=clipnorm)

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

    Differs from: Keras, which makes every gradient NaN where squares overflow; PyTorch, which adds
    1e-6 to the norm; both it and Optax turn the finite elements beside an infinity to 0.

    Reference: Pascanu, Mikolov and Bengio 2013, "On the difficulty of training recurrent neural
    networks".
    """
    check_number("global_clipnorm", global_clipnorm, above=0)

    def update(grads: Tree, state: State, params: Tree) -> tuple[Tree, State]:
        norm = norms.global_norm(grads)
        return leafwise(clip_by_norm_rule, grads, norm=norm, clipnorm=global_clipnorm)[0], state

    return Optimizer(no_state, update)


def adaptive_clip_rule(g: Tensor, *, w: Tensor, clipping: Tensor, eps: Tensor) -> tuple[Tensor]:
    """g = g min(1, clipping max(|w|, eps) / |g|), for the weights of each unit."""
    bound = clipping * tf.maximum(_unit_norm(w), eps)
    return clip_by_norm_rule(g, norm=_unit_norm(g), clipnorm=bound)


def adaptive_clip(clipping: float = 0.01, eps: float = 1e-3) -> Optimizer:
    """Adaptive gradient clipping: no unit's gradient is larger than a share of its weights.

        g = g min(1, clipping max(|w|, eps) / |g|)

    The norms are those of the weights that lead to one unit: over all axes but the last. A
    vector, and a tensor with one axis longer than 1, has one norm. A norm of the gradient that is
    not finite makes the unit's gradient NaN, and so does a NaN among its weights; an infinite
    weight bounds nothing.

    Args:
        clipping: the share, above 0.
        eps: what the norm of the weights counts at least, above 0, so that weights of 0 move.

    Raises:
        ValueError, TypeError: an argument out of its range, or of another type.

    Differs from: Optax, which takes a kernel of three axes for a multihead one: its norms are over
    the first axis only; and which divides by a norm of at least 1e-6, a larger cut where clipping
    times eps is below that.

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
    return norms.norm(x, axes)
