"""The confusion matrix: how much weight each true class has in each predicted one."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from trainlib.core.checks import check_number
from trainlib.core.types import Tensor
from trainlib.metrics.base import Metric
from trainlib.metrics.inputs import class_indices, match_labels, num_columns, weights_like


class ConfusionState(NamedTuple):
    """weights: float64 [K, K]; rows are true classes, columns predicted ones."""

    weights: Tensor


def confusion_matrix(threshold: float = 0.5) -> Metric:
    """The sums of weights [K, K] by true class (row) and predicted class (column).

    The predicted class is that of the largest score, the first of equal ones. A y_pred of one
    column, or none, is a binary one: K is 2, and a score above the threshold predicts 1. An
    example whose true class is outside 0..K-1 is left out.

    Args:
        threshold: of a binary y_pred; a finite number.

    y_true: class indices of shape [batch, ...] or [batch, ..., 1], or one-hot rows.
    """
    check_number("threshold", threshold)

    def zero(outputs: int) -> ConfusionState:
        classes = max(outputs, 2)
        return ConfusionState(tf.zeros([classes, classes], tf.float64))

    def from_model_output(
        y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None
    ) -> ConfusionState:
        y, predicted, classes = _true_and_predicted(y_true, y_pred, threshold)
        w = weights_like(sample_weight, y)
        # Of a negative place the sum takes nothing, on every device.
        inside = (y >= 0) & (y < classes)
        places = tf.where(inside, y * classes + predicted, -tf.ones_like(y))
        sums = tf.math.unsorted_segment_sum(
            tf.reshape(w, [-1]), tf.reshape(places, [-1]), classes * classes
        )
        return ConfusionState(tf.reshape(sums, [classes, classes]))

    return Metric(zero, from_model_output, lambda record: record.weights)


def _true_and_predicted(
    y_true: Tensor, y_pred: Tensor, threshold: float
) -> tuple[Tensor, Tensor, int]:
    """The true and the predicted classes, int64 of shape [batch, ...], and how many there are."""
    p = tf.convert_to_tensor(y_pred)
    if p.shape.rank > 1 and num_columns(p) > 1:
        y, p = class_indices("confusion_matrix", y_true, p)
        return y, tf.argmax(p, axis=-1), num_columns(p)
    y, p = match_labels(y_true, p)
    return tf.cast(y[..., 0], tf.int64), tf.cast(p[..., 0] > threshold, tf.int64), 2
