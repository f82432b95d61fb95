"""Gradient clipping: by value, by norm, by global norm, or by the norm of the weights.

A gradient within the bound is unchanged, bit for bit. A gradient of None stays None and does not
count. Norms are correct even where the squares of the elements overflow. By value an infinity is
clipped, and NaN stays NaN. By norm an infinity or a NaN makes every gradient that shares the norm
NaN, so that `apply_if_finite` or the finite guard can detect the step and skip it:

    bound 1         by value      clip_by_norm     clip_by_global_norm
    [0, 0]          [0, 0]        [0, 0]           [0, 0]
    [inf, 1]        [1, 1]        [nan, nan]       all nan
    [nan, 1]        [nan, 1]      [nan, nan]       all nan
    [1e200, 1]      [1, 1]        [1, 1e-200]      [1, 1e-200]
"""

from __future__ import annotations

import tensorflow as tf

from trainlib.core import norms
from trainlib.core.checks import check_number
from trainlib.core.tree import leafwise
from trainlib.core.types import Optimizer, State, Tensor, Tree
from trainlib.transforms.chain import no_state


def clip_leaf_by_value(g: Tensor, *, clipvalue: Tensor) -> tuple[Tensor]:
    """Return min(max(g, -clipvalue), clipvalue)."""
    return (tf.clip_by_value(g, -clipvalue, clipvalue),)


def clip_leaf_by_norm(g: Tensor, *, norm: Tensor, clipnorm: Tensor) -> tuple[Tensor]:
    """Return g clipnorm / norm where the norm is above clipnorm; NaN where it is not finite."""
    not_finite_as_nan = norm - norm
    # Divided first: clipnorm / norm may underflow.
    clipped = g / tf.maximum(norm, clipnorm) * clipnorm + not_finite_as_nan
    return (tf.where(norm <= clipnorm, g, clipped),)


def clip_by_value(clipvalue: float) -> Optimizer:
    """Clip every element of the gradients to [-clipvalue, clipvalue]; NaN stays NaN.

    Args:
        clipvalue: the largest magnitude of an element, above 0.

    Returns:
        An `Optimizer` without state.

    Raises:
        ValueError: `clipvalue` is not above 0.
        TypeError: `clipvalue` is not a number.

    Example:
        >>> updates, _ = tl.clip_by_value(1.0).update(tf.constant([-3.0, 0.5]), (), None)
        >>> updates.numpy().tolist()
        [-1.0, 0.5]
    """
    check_number("clipvalue", clipvalue, above=0)

    def update(grads: Tree, state: State, params: Tree) -> tuple[Tree, State]:
        return leafwise(clip_leaf_by_value, grads, clipvalue=clipvalue)[0], state

    return Optimizer(no_state, update, by_row=True)


def clip_by_norm(clipnorm: float) -> Optimizer:
    """Scale each gradient tensor down to a Euclidean norm of at most `clipnorm`.

        g = g clipnorm / max(|g|, clipnorm)

    A norm that is not finite makes the whole tensor NaN.

    Args:
        clipnorm: the largest norm of each gradient tensor, above 0.

    Returns:
        An `Optimizer` without state.

    Raises:
        ValueError: `clipnorm` is not above 0 (0 would turn clipping off in Keras).
        TypeError: `clipnorm` is not a number.

    Example:
        >>> grads = [tf.constant([3.0, 4.0]), tf.constant([0.5])]
        >>> updates, _ = tl.clip_by_norm(2.5).update(grads, (), None)
        >>> [u.numpy().tolist() for u in updates]
        [[1.5, 2.0], [0.5]]

    Differences:
        Keras: the finite elements beside an infinity become 0, and so do all elements of a tensor
            whose squares overflow.
        PyTorch: 1e-6 is added to the norm.
    """
    check_number("clipnorm", clipnorm, above=0)

    def on_leaf(g: Tensor, *, clipnorm: Tensor) -> tuple[Tensor]:
        return clip_leaf_by_norm(g, norm=norms.global_norm(g), clipnorm=clipnorm)

    def update(grads: Tree, state: State, params: Tree) -> tuple[Tree, State]:
        return leafwise(on_leaf, grads, clipnorm=clipnorm)[0], state

    return Optimizer(no_state, update, by_row=True)


def clip_by_global_norm(global_clipnorm: float) -> Optimizer:
    """Scale all gradients by one factor, so that their global norm is at most a bound.

        g = g global_clipnorm / max(n, global_clipnorm),  n = sqrt(sum of |g|^2 over all tensors)

    A norm that is not finite makes every gradient NaN.

    Args:
        global_clipnorm: the largest global norm, above 0.

    Returns:
        An `Optimizer` without state.

    Raises:
        ValueError: `global_clipnorm` is not above 0.
        TypeError: `global_clipnorm` is not a number.

    Example:
        >>> grads = [tf.constant([3.0]), tf.constant([4.0])]
        >>> updates, _ = tl.clip_by_global_norm(2.5).update(grads, (), None)
        >>> [u.numpy().tolist() for u in updates]
        [[1.5], [2.0]]

    Differences:
        Keras: every gradient becomes NaN where squares overflow.
        PyTorch: 1e-6 is added to the norm.
        PyTorch, Optax: the finite elements beside an infinity become 0.

    References:
        Pascanu, Mikolov and Bengio 2013, "On the difficulty of training recurrent neural networks".
    """
    check_number("global_clipnorm", global_clipnorm, above=0)

    def update(grads: Tree, state: State, params: Tree) -> tuple[Tree, State]:
        norm = norms.global_norm(grads)
        return leafwise(clip_leaf_by_norm, grads, norm=norm, clipnorm=global_clipnorm)[0], state

    return Optimizer(no_state, update, by_row=True)


def adaptive_clip_leaf(g: Tensor, *, w: Tensor, clipping: Tensor, eps: Tensor) -> tuple[Tensor]:
    """Return g min(1, clipping max(|w|, eps) / |g|), with norms of the weights of each unit."""
    bound = clipping * tf.maximum(_unit_norm(w), eps)
    return clip_leaf_by_norm(g, norm=_unit_norm(g), clipnorm=bound)


def adaptive_clip(clipping: float = 0.01, eps: float = 1e-3) -> Optimizer:
    """Adaptive gradient clipping: bound each unit's gradient by a fraction of its weights' norm.

        g = g min(1, clipping max(|w|, eps) / |g|)

    The norms are those of the weights that lead to one unit: over all axes but the last. A vector,
    and a tensor with one axis longer than 1, has one norm. A norm of the gradient that is not
    finite makes the unit's gradient NaN, and so does a NaN among its weights; an infinite weight
    does not bound anything.

    Args:
        clipping: the largest ratio of the two norms, above 0. Default: 0.01.
        eps: a lower bound of the weights' norm, above 0, so that weights of 0 can move. Default:
            1e-3.

    Returns:
        An `Optimizer` without state.

    Raises:
        ValueError: an argument is not above 0.
        TypeError: an argument is not a number.

    Example:
        >>> w, g = tf.constant([3.0, 4.0]), tf.constant([0.0, 2.0])
        >>> updates, _ = tl.adaptive_clip(0.1).update(g, (), w)
        >>> np.round(updates.numpy(), 6).tolist()
        [0.0, 0.5]

    Differences:
        Optax: a kernel of three axes is treated as a multihead one, with norms over the first axis
            only, and the norm that divides is at least 1e-6, which clips more where clipping times
            eps is below that.

    References:
        Brock, De, Smith and Simonyan 2021, "High-Performance Large-Scale Image Recognition Without
        Normalization".
    """
    check_number("clipping", clipping, above=0)
    check_number("eps", eps, above=0)

    def update(grads: Tree, state: State, params: Tree) -> tuple[Tree, State]:
        (updates,) = leafwise(adaptive_clip_leaf, grads, params=params, clipping=clipping, eps=eps)
        return updates, state

    return Optimizer(no_state, update)


def _unit_norm(x: Tensor) -> Tensor:
    """Return the Euclidean norm of the weights of each unit, with axes for broadcasting."""
    long_axes = sum(size != 1 for size in x.shape)
    axes = None if long_axes <= 1 else list(range(x.shape.rank - 1))
    return norms.norm(x, axes)
