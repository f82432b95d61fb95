"""The confusion matrix."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from trainlib.core.checks import check_number
from trainlib.core.types import Tensor
from trainlib.metrics.base import Metric
from trainlib.metrics.inputs import class_indices, match_labels, num_columns, weights_like


class ConfusionState(NamedTuple):
    """State of `confusion_matrix` and of the intersections over unions.

    Attributes:
        weights: sums of weights, float64 [K, K]; rows are true classes, columns predicted ones.
    """

    weights: Tensor


def confusion_matrix(threshold: float = 0.5) -> Metric:
    """Sum the weights by true class (row) and predicted class (column).

    The predicted class is that of the largest score, the first of equal ones. A y_pred with one
    column, or with only a batch axis, is binary: K is 2, and a score above the threshold predicts
    class 1. y_true holds class indices of shape [batch, ...] or [batch, ..., 1], or one-hot rows;
    an example whose true class is outside 0..K-1 is excluded.

    Args:
        threshold: for binary y_pred, finite. Default: 0.5.

    Returns:
        A `Metric` with state `ConfusionState` and value [K, K].

    Raises:
        ValueError, TypeError: the threshold is not a finite number.

    Example:
        >>> metric = tl.metrics.confusion_matrix()
        >>> state = metric.from_model_output([0, 1, 1], [[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]])
        >>> metric.compute(state).numpy()
        array([[1., 0.],
               [1., 1.]])
    """
    check_number("threshold", threshold)

    def empty(outputs: int) -> ConfusionState:
        classes = max(outputs, 2)
        return ConfusionState(tf.zeros([classes, classes], tf.float64))

    def from_model_output(
        y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None
    ) -> ConfusionState:
        y, predicted, classes = _true_and_predicted(y_true, y_pred, threshold)
        return count_classes(y, predicted, classes, weights_like(sample_weight, y))

    return Metric(empty, from_model_output, lambda state: state.weights)


def count_classes(y: Tensor, predicted: Tensor, classes: int, w: Tensor) -> ConfusionState:
    """Return the state of true and predicted classes, int64, and weights, of one shape.

    An example with a class outside 0..K-1 is excluded.
    """
    inside = (y >= 0) & (y < classes) & (predicted >= 0) & (predicted < classes)
    # The sum ignores negative positions, on every device.
    positions = tf.where(inside, y * classes + predicted, -tf.ones_like(y))
    sums = tf.math.unsorted_segment_sum(
        tf.reshape(w, [-1]), tf.reshape(positions, [-1]), classes * classes
    )
    return ConfusionState(tf.reshape(sums, [classes, classes]))


def _true_and_predicted(
    y_true: Tensor, y_pred: Tensor, threshold: float
) -> tuple[Tensor, Tensor, int]:
    """Return the true and the predicted classes, int64 of shape [batch, ...], and their number."""
    p = tf.convert_to_tensor(y_pred)
    if p.shape.rank > 1 and num_columns(p) > 1:
        y, p = class_indices("confusion_matrix", y_true, p)
        return y, tf.argmax(p, axis=-1), num_columns(p)
    y, p = match_labels(y_true, p)
    return tf.cast(y[..., 0], tf.int64), tf.cast(p[..., 0] > threshold, tf.int64), 2
