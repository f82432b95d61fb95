"""Tests for infinities and NaNs in structures of tensors."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from trainlib.core.tree import leaves_by_path, widen
from trainlib.core.types import Tensor, Tree


def first_nonfinite(tensors: Tree) -> Tensor:
    """Return the index of the first tensor with an infinite or NaN element, or -1.

    Args:
        tensors: any structure of floating tensors. A leaf of None counts as finite.

    Returns:
        The index in the order of `tf.nest.flatten`, int64 []; -1 where all elements are finite.

    Example:
        >>> grads = {"bias": tf.constant([0.0, 1.0]), "kernel": tf.constant([1.0, np.nan])}
        >>> int(tl.first_nonfinite(grads))
        1
        >>> int(tl.first_nonfinite({"bias": tf.constant([0.0, 1.0]), "kernel": None}))
        -1
    """
    leaves = tf.nest.flatten(tensors)
    found = [(i, _has_nonfinite(x)) for i, x in enumerate(leaves) if x is not None]
    if not found:
        return tf.constant(-1, tf.int64)
    indices, bad = zip(*found, strict=True)
    none = tf.constant(len(leaves), tf.int64)
    first = tf.reduce_min(tf.where(tf.stack(bad), tf.constant(indices, tf.int64), none))
    return tf.where(first == none, tf.constant(-1, tf.int64), first)


def nonfinite_leaf(tensors: Tree) -> str | None:
    """Return the path of the first tensor with an infinite or NaN element; None if there is none.

    It reads the values, so it cannot be traced in a `tf.function`.

    Args:
        tensors: any structure of floating tensors, variables and arrays; None counts as finite.
    """
    # By NumPy: for small tensors a kernel of TensorFlow each would take longer.
    for i, x in enumerate(tf.nest.flatten(tensors)):
        if x is not None and not np.isfinite(np.asarray(x)).all():
            return leaves_by_path(tensors)[i][0]
    return None


def all_finite(tensors: Tree) -> Tensor:
    """Return whether no element of any tensor is infinite or NaN, as a scalar bool."""
    return first_nonfinite(tensors) < 0


def _has_nonfinite(x: Tensor) -> Tensor:
    """Return whether a tensor, or its given rows, has an infinite or NaN element, bool []."""
    x = x.values if isinstance(x, tf.IndexedSlices) else x
    return tf.reduce_any(~tf.math.is_finite(widen(x)))
