"""Hinge losses: no loss beyond a margin."""

from __future__ import annotations

import tensorflow as tf

from trainlib.core.types import Tensor
from trainlib.losses.inputs import match_shapes


def hinge(y_true: Tensor, y_pred: Tensor) -> Tensor:
    """The mean over the last axis of max(1 - y_true y_pred, 0).

    For two classes, as in a support vector machine: scores, no probabilities.

    Args:
        y_true: -1 or 1, of shape [batch, ..., d]; a label of 0 is taken for -1.
        y_pred: scores of that shape.

    Raises:
        ValueError, TypeError: shapes or dtypes that do not go together.

    Differs from: Keras, where a label of 0 is -1 if every label of the batch is 0 or 1, and
    stays 0 otherwise. optax.hinge_loss takes -1 and 1 alone, and no mean over the last axis.

    Reference: Cortes and Vapnik 1995, "Support-Vector Networks".
    """
    return tf.reduce_mean(_beyond_margin(y_true, y_pred), axis=-1)


def squared_hinge(y_true: Tensor, y_pred: Tensor) -> Tensor:
    """The mean over the last axis of max(1 - y_true y_pred, 0)^2.

    For two classes; smooth at the margin, and harder than `hinge` on what is far off.

    Args:
        y_true: -1 or 1, of shape [batch, ..., d]; a label of 0 is taken for -1.
        y_pred: scores of that shape.

    Raises:
        ValueError, TypeError: shapes or dtypes that do not go together.

    Differs from: Keras, as `hinge` does.

    Reference: Lee and Mangasarian 2001, "SSVM: A Smooth Support Vector Machine for
    Classification".
    """
    return tf.reduce_mean(tf.square(_beyond_margin(y_true, y_pred)), axis=-1)


def categorical_hinge(y_true: Tensor, y_pred: Tensor) -> Tensor:
    """max(1 + max((1 - y) p) - sum y p, 0), over the last axis; y: y_true, p: y_pred.

    For more classes than two: the true one's score shall be 1 above each of the others'.

    Args:
        y_true: one-hot rows of shape [batch, ..., K].
        y_pred: scores of that shape. Where all scores of the others are negative, the 0 of the
            true class in (1 - y) p is the largest.

    Raises:
        ValueError, TypeError: shapes or dtypes that do not go together.

    Differs from: optax.multiclass_hinge_loss and torch.multi_margin_loss, where the true class
    has no 0 in the maximum; torch sums over the others instead.

    Reference: Crammer and Singer 2001, "On the Algorithmic Implementation of Multiclass
    Kernel-based Vector Machines".
    """
    y, p = match_shapes(y_true, y_pred)
    true = tf.reduce_sum(y * p, axis=-1)
    other = tf.reduce_max((1 - y) * p, axis=-1)
    return tf.maximum(other - true + 1, 0)


def _beyond_margin(y_true: Tensor, y_pred: Tensor) -> Tensor:
    """max(1 - y p, 0) of each element."""
    y, p = match_shapes(y_true, y_pred)
    y = tf.where(tf.equal(y, 0), -tf.ones_like(y), y)
    return tf.maximum(1 - y * p, 0)
