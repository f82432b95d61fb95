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
        """The record of a batch of values."""
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
    """
    y_true, y_pred = tf.convert_to_tensor(y_true), tf.convert_to_tensor(y_pred)
    if y_true.shape.rank == y_pred.shape.rank:
        y_true = y_true[..., 0] if y_true.shape[-1] == 1 else tf.argmax(y_true, axis=-1)
    return tf.cast(tf.cast(y_true, tf.int64) == tf.argmax(y_pred, axis=-1), tf.float32)
