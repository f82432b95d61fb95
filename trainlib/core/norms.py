"""Euclidean norms that are correct wherever the norm itself is in the range of the dtype.

    |x| = sqrt(sum x^2)                             where the squares neither overflow nor underflow
    |x| = m sqrt(sum (x / m)^2),  m = max |x|       elsewhere

In float32 the squares of 1e20 and of 1e-20 are outside the range of the dtype; the norms are not.
The second form is computed only where an element of the result needs it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from trainlib.core.tree import total, widen
from trainlib.core.types import Tensor, Tree


def norm(x: Tensor, axis: int | Sequence[int] | None = None) -> Tensor:
    """Return the Euclidean norm of a tensor over some axes.

    The norm of zeros, and of no elements, is 0; of an infinity it is infinite, of a NaN it is NaN.

    Args:
        x: a float32 or float64 tensor.
        axis: the axes to sum over, kept with length 1. Default: None, all axes.

    Example:
        >>> from trainlib.core.norms import norm
        >>> norm(tf.constant([[3e20, 4e20], [0.0, 2.0]]), axis=1).numpy().tolist() == [
        ...     [np.float32(5e20)], [2.0]]
        True
    """
    plain = tf.sqrt(tf.reduce_sum(tf.square(x), axis, keepdims=True))
    safe = _is_safe(plain)
    return tf.cond(
        tf.reduce_all(safe),
        lambda: plain,
        lambda: tf.where(safe, plain, _scaled_norm(x, axis)),
    )


def global_norm(tensors: Tree) -> Tensor:
    """Return the Euclidean norm of all leaves together.

    Args:
        tensors: any structure of floating tensors, or one tensor; leaves of None are left out.

    Returns:
        A scalar in float32, or in float64 if a leaf is; 0 if there is no leaf.

    Example:
        >>> from trainlib.core.norms import global_norm
        >>> float(global_norm({"a": tf.constant([3.0]), "b": None, "c": tf.constant(4.0)}))
        5.0
    """
    leaves = [widen(x) for x in tf.nest.flatten(tensors) if x is not None]
    plain = tf.sqrt(total([tf.reduce_sum(tf.square(x)) for x in leaves]))
    if not leaves:
        return plain

    def scaled() -> Tensor:
        norms = [_scaled_norm(tf.cast(x, plain.dtype)) for x in leaves]
        return tf.reshape(_scaled_norm(tf.stack([tf.reshape(n, []) for n in norms])), [])

    return tf.cond(_is_safe(plain), lambda: plain, scaled)


def _is_safe(plain: Tensor) -> Any:
    """Return whether the root of a sum of squares is the norm, without over- or underflow."""
    # A square that underflows is wrong by at most tiny. A sum of 2^31 such errors is to stay
    # below half an ulp of the sum.
    info = np.finfo(plain.dtype.as_numpy_dtype)
    least = 2.0**16 * float(np.sqrt(info.tiny / info.eps))
    return tf.math.is_nan(plain) | (tf.math.is_finite(plain) & (plain > least))


def _scaled_norm(x: Tensor, axis: int | Sequence[int] | None = None) -> Tensor:
    """Return m sqrt(sum (x / m)^2), m = max |x|; 0 where m is 0. For x without NaN."""
    m = tf.maximum(tf.reduce_max(tf.abs(x), axis, keepdims=True), 0)
    root = tf.sqrt(tf.reduce_sum(tf.square(tf.math.divide_no_nan(x, m)), axis, keepdims=True))
    # An infinite m leaves inf / inf in the sum.
    return tf.where(tf.math.is_finite(m), m * root, m)
