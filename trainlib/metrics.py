"""Metrics: pure functions `(y_true, y_pred) -> value of each example`, and `Mean`, which merges.

A metric's result over any set of batches is a `Mean`, a (total, count) record; records of parts
merge into the record of the whole, so that unequal batches count with their true weights.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import tensorflow as tf

from trainlib.base import Tensor
from trainlib.losses import mean_absolute_error, mean_squared_error, weighted_sum

__all__ = ["Mean", "Metric", "accuracy", "mean_absolute_error", "mean_squared_error"]

Metric: TypeAlias = Callable[[Tensor, Tensor], Tensor]


class Mean(NamedTuple):
    """total: sum of weight times value; count: sum of weights. Both float64 []."""

    total: Tensor
    count: Tensor

    @classmethod
    def empty(cls) -> Mean:
        """The record of no examples."""
        return cls(tf.zeros([], tf.float64), tf.zeros([], tf.float64))

    @classmethod
    def of(cls, values: Tensor, sample_weight: Tensor | None = None) -> Mean:
        """The record of a batch of values; booleans are taken for 0 and 1."""
        values = tf.convert_to_tensor(values)
        if not values.dtype.is_floating:
            values = tf.cast(values, tf.float64)
        total, count = weighted_sum(values, sample_weight)
        return cls(tf.cast(total, tf.float64), tf.cast(count, tf.float64))

    def merge(self, other: Mean) -> Mean:
        """The record of both parts together."""
        return Mean(self.total + other.total, self.count + other.count)

    def result(self) -> Tensor:
        """total / count; 0 where nothing was counted."""
        return tf.math.divide_no_nan(self.total, self.count)


def accuracy(y_true: Tensor, y_pred: Tensor) -> Tensor:
    """1 where the largest of y_pred stands at the true class, else 0.

    Args:
        y_true: class indices of shape [batch, ...] or [batch, ..., 1], or one-hot rows of shape
            [batch, ..., K].
        y_pred: scores, logits or probabilities, of shape [batch, ..., K] with K of at least 2.

    Returns:
        float32, shape [batch, ...].

    Raises:
        ValueError: shapes that do not go together, or a K of 1.
    """
    y_true, y_pred = tf.convert_to_tensor(y_true), tf.convert_to_tensor(y_pred)
    batch = y_pred.shape[:-1]
    fitting = any(y_true.shape.is_compatible_with(s) for s in (batch, batch + [1], y_pred.shape))
    if y_pred.shape.rank in (0, 1) or y_pred.shape[-1] == 1 or not fitting:
        raise ValueError(
            "accuracy needs y_pred of shape [batch, ..., K], K at least 2, and y_true of shape "
            f"[batch, ...], [batch, ..., 1] or [batch, ..., K]; got y_pred of {list(y_pred.shape)} "
            f"and y_true of {list(y_true.shape)}"
        )
    if y_true.shape.rank == y_pred.shape.rank:
        y_true = y_true[..., 0] if y_true.shape[-1] == 1 else tf.argmax(y_true, axis=-1)
    return tf.cast(tf.cast(y_true, tf.int64) == tf.argmax(y_pred, axis=-1), tf.float32)
