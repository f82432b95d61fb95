"""Euclidean norms that are right wherever the norm itself is a number of the dtype.

    |x| = sqrt(sum x^2)                     where the squares neither overflow nor underflow
    |x| = m sqrt(sum (x / m)^2),  m = max |x|     elsewhere

In float32 the squares of 1e20 and of 1e-20 are beyond the dtype; the norms are not. The second
form is computed only where an element of the result needs it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

import trainlib.core.tree as tree
from trainlib.core.types import Tensor, Tree


def norm(x: Tensor, axis: int | Sequence[int] | None = None) -> Tensor:
    """|x| over some axes, which stay as axes of length 1, or over all of them.

    The norm of zeros, and of nothing, is 0; that of an infinity is infinite, that of a NaN is NaN.
    """
    plain = tf.sqrt(tf.reduce_sum(tf.square(x), axis, keepdims=True))
    safe = _is_safe(plain)
    return tf.cond(
        tf.reduce_all(safe),
        lambda: plain,
        lambda: tf.where(safe, plain, _scaled_norm(x, axis)),
    )


def global_norm(tensors: Tree) -> Tensor:
    """The norm of all the leaves together, as a scalar in the widest of their dtypes."""
    plain = tree.global_norm(tensors)
    leaves = [x for x in tf.nest.flatten(tensors) if x is not None]
    if not leaves:
        return plain

    def scaled() -> Tensor:
        each = [_scaled_norm(tf.cast(tree.widen(x), plain.dtype)) for x in leaves]
        return tf.reshape(_scaled_norm(tf.stack([tf.reshape(n, []) for n in each])), [])

    return tf.cond(_is_safe(plain), lambda: plain, scaled)


def _is_safe(plain: Tensor) -> Any:
    """Whether a root of a sum of squares is the norm: neither overflow nor underflow shaped it."""
    # A square that underflows is wrong by at most tiny. A sum of 2^31 such errors is to stay
    # below half an ulp of the sum.
    info = np.finfo(plain.dtype.as_numpy_dtype)
    least = 2.0**16 * float(np.sqrt(info.tiny / info.eps))
    return tf.math.is_nan(plain) | (tf.math.is_finite(plain) & (plain > least))


def _scaled_norm(x: Tensor, axis: int | Sequence[int] | None = None) -> Tensor:
    """m sqrt(sum (x / m)^2), m = max |x|; 0 where m is 0. For x without NaN."""
    m = tf.maximum(tf.reduce_max(tf.abs(x), axis, keepdims=True), 0)
    root = tf.sqrt(tf.reduce_sum(tf.square(tf.math.divide_no_nan(x, m)), axis, keepdims=True))
    # An infinite m leaves inf / inf in the sum.
    return tf.where(tf.math.is_finite(m), m * root, m)
