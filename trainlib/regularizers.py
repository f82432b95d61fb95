"""Regularizers: pure functions `params -> scalar`, a penalty that is added to the loss.

The penalty is summed over every tensor of the structure, in float32 or wider; `restrict` limits it
to some of them. `l2` has no factor 1/2: PyTorch's weight_decay is 2 l2.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import tensorflow as tf

from trainlib.core.checks import check_choice, check_number
from trainlib.core.tree import kernels, leaves_by_path, resolve_mask, total, widen
from trainlib.core.types import Tensor, Tree
from trainlib.transforms.decay import Mask

Regularizer: TypeAlias = Callable[[Tree], Tensor]

MODES = ("rows", "columns")
SHORTEST = 1e-7
"""Lower bound of the length by which a row or column is divided."""


def l1(l1: float = 0.01) -> Regularizer:
    """Penalize the absolute values of the weights.

        penalty = l1 sum |w|

    The gradient at w = 0 is 0.

    Args:
        l1: the factor, at least 0. Default: 0.01.

    Returns:
        A function `params -> scalar`.

    Raises:
        ValueError, TypeError: the factor is negative, not finite or not a number.

    Example:
        >>> float(tl.l1(0.5)({"w": tf.constant([1.0, -3.0])}))
        2.0
    """
    return l1_l2(l1, 0.0)


def l2(l2: float = 0.01) -> Regularizer:
    """Penalize the squares of the weights.

        penalty = l2 sum w^2

    Args:
        l2: the factor, at least 0. Default: 0.01.

    Returns:
        A function `params -> scalar`.

    Raises:
        ValueError, TypeError: the factor is negative, not finite or not a number.

    Example:
        >>> float(tl.l2(0.5)({"w": tf.constant([1.0, -3.0])}))
        5.0
    """
    return l1_l2(0.0, l2)


def l1_l2(l1: float = 0.0, l2: float = 0.0) -> Regularizer:
    """Penalize the absolute values and the squares of the weights.

        penalty = l1 sum |w| + l2 sum w^2

    Args:
        l1: the factor of the absolute values, at least 0. Default: 0.
        l2: the factor of the squares, at least 0. Default: 0.

    Returns:
        A function `params -> scalar`.

    Raises:
        ValueError, TypeError: a factor is negative, not finite or not a number.

    Example:
        >>> float(tl.l1_l2(0.5, 0.5)({"w": tf.constant([1.0, -3.0])}))
        7.0
    """
    check_number("l1", l1, at_least=0)
    check_number("l2", l2, at_least=0)

    def penalty(w: Tensor) -> Tensor:
        """Return the penalty on one tensor."""
        w = widen(w)
        value = tf.zeros([], w.dtype)
        if _is_used(l1):
            value += l1 * tf.reduce_sum(tf.abs(w))
        if _is_used(l2):
            value += l2 * tf.reduce_sum(tf.square(w))
        return value

    return _summed(penalty)


def orthogonal(factor: float = 0.01, mode: str = "rows") -> Regularizer:
    """Penalize the cosines between the rows or columns of each kernel.

        penalty = factor mean |u_i . u_j| over the pairs i < j, u_i = w_i / max(|w_i|, 1e-7)

    A kernel of more than two axes counts as a matrix of shape [product of the first axes, last
    axis], in which a column is a filter. With a single row there is no pair, and the penalty is 0;
    a zero row adds 0 to the sum and has gradient 0.

    Args:
        factor: the factor of the mean, at least 0. Default: 0.01.
        mode: the vectors to make orthogonal, "rows" or "columns". Default: "rows".

    Returns:
        A function `params -> scalar`, which raises `ValueError` for a parameter of fewer than two
        axes.

    Raises:
        ValueError, TypeError: the factor is negative, not finite or not a number, or the mode is
            unknown.

    Example:
        >>> penalty = tl.orthogonal(1.0)
        >>> print(f"{float(penalty([tf.constant([[1.0, 0.0], [1.0, 1.0]])])):.3f}")
        0.707

    Differences:
        Keras: kernels of more than two axes and float64 are rejected, and a single row gives NaN.
    """
    check_number("factor", factor, at_least=0)
    check_choice("mode", mode, MODES)

    def penalty(w: Tensor) -> Tensor:
        """Return the penalty on one tensor."""
        w = widen(w)
        if w.shape.rank < 2:
            raise ValueError(
                f"orthogonal is for parameters of two or more axes, got one of shape {w.shape}"
            )
        matrix = tf.reshape(w, [-1, w.shape[-1]])
        vectors = matrix if mode == "rows" else tf.transpose(matrix)
        return factor * _mean_cosine(vectors)

    return _summed(penalty)


def _mean_cosine(vectors: Tensor) -> Tensor:
    """Return the mean of |cosine| over the pairs of rows of a matrix; 0 if there is no pair."""
    unit = tf.math.l2_normalize(vectors, axis=1, epsilon=SHORTEST**2)
    cosines = tf.matmul(unit, unit, transpose_b=True)
    count = tf.shape(vectors)[0]
    of_pairs = tf.linalg.set_diag(cosines, tf.zeros([count], cosines.dtype))
    # Each pair is in the matrix twice.
    entries = tf.cast(count, cosines.dtype) * tf.cast(count - 1, cosines.dtype)
    return tf.reduce_sum(tf.abs(of_pairs)) / tf.maximum(entries, 1)


def restrict(regularizer: Regularizer, mask: Mask = kernels) -> Regularizer:
    """Apply a regularizer to some of the parameters.

    The regularizer receives the selected parameters as a dict by path.

    Args:
        regularizer: `params -> scalar`.
        mask: the parameters to select: `kernels` (those of two or more axes, not biases), a
            structure of bools like the parameters, a function of a parameter's path, a regular
            expression that must match a whole path, or None for all. Default: `kernels`.

    Returns:
        A function `params -> scalar`. It raises `ValueError` or `TypeError` if the mask has another
        structure or other leaves than bools, the expression matches nothing, or two parameters have
        the same path.

    Example:
        >>> penalty = tl.restrict(tl.l2(0.5), "encoder/.*")
        >>> params = {"encoder": {"kernel": tf.constant([[2.0]])}, "head": tf.constant([9.0])}
        >>> float(penalty(params))
        2.0
    """

    def restricted(params: Tree) -> Tensor:
        masked = zip(
            leaves_by_path(params), tf.nest.flatten(resolve_mask(mask, params)), strict=True
        )
        selected = [item for item, is_selected in masked if is_selected]
        by_path = dict(selected)
        if len(by_path) < len(selected):
            raise ValueError(f"two of the parameters {', '.join(by_path)} have the same path")
        return regularizer(by_path)

    return restricted


def _is_used(factor: float | Tensor) -> bool:
    """Return whether a factor may be other than 0: a tensor may."""
    return tf.is_tensor(factor) or factor != 0


def _summed(penalty: Callable[[Tensor], Tensor]) -> Regularizer:
    """Return the sum of a penalty on one tensor over the tensors of a structure."""
    return lambda params: total([penalty(w) for w in tf.nest.flatten(params)])
