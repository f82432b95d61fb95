"""Regularizers: pure functions `params -> scalar`, a penalty to be added to the loss.

The penalty is summed over every tensor of the structure that it is given, in float32 or wider; by
`restrict` only over some. There is no 1/2 in `l2`: PyTorch's weight_decay is 2 l2.
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
"""The length that a row or column counts at least, when it is divided by its length."""


def l1(l1: float = 0.01) -> Regularizer:
    """penalty = l1 sum |w|; its gradient where w = 0 is 0.

    Args:
        l1: a factor of at least 0.
    """
    return l1_l2(l1, 0.0)


def l2(l2: float = 0.01) -> Regularizer:
    """penalty = l2 sum w^2.

    Args:
        l2: a factor of at least 0.
    """
    return l1_l2(0.0, l2)


def l1_l2(l1: float = 0.0, l2: float = 0.0) -> Regularizer:
    """penalty = l1 sum |w| + l2 sum w^2.

    Args:
        l1, l2: a factor of at least 0.

    Raises:
        ValueError, TypeError: a factor that is negative, not finite, or no number.
    """
    check_number("l1", l1, at_least=0)
    check_number("l2", l2, at_least=0)

    def penalty(w: Tensor) -> Tensor:
        w = widen(w)
        of_w = tf.zeros([], w.dtype)
        if l1:
            of_w += l1 * tf.reduce_sum(tf.abs(w))
        if l2:
            of_w += l2 * tf.reduce_sum(tf.square(w))
        return of_w

    return _summed(penalty)


def orthogonal(factor: float = 0.01, mode: str = "rows") -> Regularizer:
    """penalty = factor mean |u_i . u_j| over the pairs i < j, u_i = w_i / max(|w_i|, 1e-7).

    It draws the rows w_i of each kernel, or its columns, towards right angles. A kernel of more
    than two axes counts as a matrix of shape [product of the first axes, last axis]: a column of
    it is a filter. Where there is one row there is no pair, and the penalty is 0; a row of zeros
    adds 0 to the sum, and its gradient is 0.

    Args:
        factor: of the mean, at least 0.
        mode: which vectors are drawn apart: "rows" or "columns".

    Raises:
        ValueError, TypeError: a factor that is negative, not finite, or no number; another mode;
            when called, a parameter of fewer than two axes.

    Differs from: Keras, which refuses kernels of more than two axes and float64, and makes NaN of
    one row.
    """
    check_number("factor", factor, at_least=0)
    check_choice("mode", mode, MODES)

    def penalty(w: Tensor) -> Tensor:
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
    """The mean of |cosine| over the pairs of rows of a matrix; 0 where there is no pair."""
    unit = tf.math.l2_normalize(vectors, axis=1, epsilon=SHORTEST**2)
    cosines = tf.matmul(unit, unit, transpose_b=True)
    count = tf.shape(vectors)[0]
    of_pairs = tf.linalg.set_diag(cosines, tf.zeros([count], cosines.dtype))
    # Each pair is in the matrix twice.
    entries = tf.cast(count, cosines.dtype) * tf.cast(count - 1, cosines.dtype)
    return tf.reduce_sum(tf.abs(of_pairs)) / tf.maximum(entries, 1)


def restrict(regularizer: Regularizer, mask: Mask = kernels) -> Regularizer:
    """The regularizer over some of the parameters; over the kernels where no mask is given.

        restrict(l2(1e-4), "encoder/.*")

    The regularizer is given those parameters as a dict by path.

    Args:
        regularizer: `params -> scalar`.
        mask: `kernels` (parameters of two or more axes: not biases), a structure of bools like the
            parameters, a function of a parameter's path, a regular expression that must match the
            whole of a path, or None for all the parameters.

    Raises:
        ValueError, TypeError: when called, a mask of another structure or of something else than
            bools, an expression that matches nothing, or two parameters of one path.
    """

    def restricted(params: Tree) -> Tensor:
        masked = zip(
            leaves_by_path(params), tf.nest.flatten(resolve_mask(mask, params)), strict=True
        )
        taken = [named for named, own in masked if own]
        part = dict(taken)
        if len(part) < len(taken):
            raise ValueError(f"two of the parameters {', '.join(part)} have the same path")
        return regularizer(part)

    return restricted


def _summed(penalty: Callable[[Tensor], Tensor]) -> Regularizer:
    """The sum of a penalty on one tensor over the tensors of a structure."""
    return lambda params: total([penalty(w) for w in tf.nest.flatten(params)])
