"""Metrics of probabilities: the calibration error, the Brier score, the logarithmic loss."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from trainlib.core.checks import check_integer
from trainlib.core.types import Tensor
from trainlib.metrics.base import Metric
from trainlib.metrics.inputs import (
    class_indices,
    match_labels,
    weights_like,
    zero_where_excluded,
)

NUM_BINS = 15
"""Default number of bins of the confidence."""


class CalibrationState(NamedTuple):
    """State of `expected_calibration_error`: sums over the examples, by bin of the confidence.

    Attributes:
        weight: sums of the weights, float64 [num_bins].
        confidence: sums of weight times confidence, float64 [num_bins].
        correct: sums of the weights of correct predictions, float64 [num_bins].

    Example:
        >>> metric = tl.metrics.expected_calibration_error(num_bins=2)
        >>> state = metric.from_model_output([1, 0], [[0.25, 0.75], [0.0, 1.0]])
        >>> state.correct.numpy().tolist()
        [0.0, 1.0]
    """

    weight: Tensor
    confidence: Tensor
    correct: Tensor

    def errors(self) -> Tensor:
        """Return |accuracy - mean confidence| of each bin, 0 for an empty one, float64."""
        return tf.math.divide_no_nan(tf.abs(self.correct - self.confidence), self.weight)


def expected_calibration_error(num_bins: int = NUM_BINS) -> Metric:
    """Compute the expected calibration error: how far confidences are from frequencies.

        ECE = sum_m n_m / n |acc(B_m) - conf(B_m)|,    B_m = ((m - 1) / M, m / M]

    with M bins of one width, n_m the weight of the examples whose confidence is in B_m, acc their
    accuracy and conf their mean confidence. With K columns, the confidence is the probability of
    the predicted class, the largest; with one, it is the probability of class 1, and the accuracy
    the frequency of class 1. A confidence of 0 counts in the first bin;
    torchmetrics counts one at the edge of two bins in the upper one.

    The metric takes y_pred as probabilities [batch, ..., K], with y_true as class indices or
    one-hot rows; or as probabilities of class 1, [batch] or [batch, 1], with y_true 0 or 1.

    Args:
        num_bins: M, at least 1. Default: 15.

    Returns:
        A `Metric` with state `CalibrationState`.

    Raises:
        ValueError, TypeError: num_bins is out of range or of the wrong type.

    Example:
        >>> metric = tl.metrics.expected_calibration_error(num_bins=10)
        >>> y_pred = [[0.85, 0.15], [0.82, 0.18], [0.35, 0.65], [0.4, 0.6]]
        >>> state = metric.from_model_output([0, 1, 1, 1], y_pred)
        >>> print(f"{float(metric.compute(state)):.4f}")
        0.3550

    References:
        Naeini et al. 2015, "Obtaining Well Calibrated Probabilities Using Bayesian Binning".
        Guo et al. 2017, "On Calibration of Modern Neural Networks".
    """
    check_integer("num_bins", num_bins, at_least=1)

    def from_model_output(
        y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None
    ) -> CalibrationState:
        confidence, correct = _confidences(y_true, y_pred)
        w = weights_like(sample_weight, confidence)
        confidence, correct = zero_where_excluded(w, confidence, correct)
        last = tf.constant(num_bins - 1, tf.int32)
        bins = tf.clip_by_value(tf.cast(tf.math.ceil(num_bins * confidence), tf.int32) - 1, 0, last)
        sums = [w, w * confidence, w * correct]
        columns = tf.stack([tf.reshape(x, [-1]) for x in sums], axis=1)
        by_bin = tf.math.unsorted_segment_sum(columns, tf.reshape(bins, [-1]), num_bins)
        return CalibrationState(*tf.unstack(by_bin, axis=1))

    def compute(state: CalibrationState) -> Tensor:
        parts = tf.reduce_sum(state.weight * state.errors())
        return tf.math.divide_no_nan(parts, tf.reduce_sum(state.weight))

    return Metric(
        lambda outputs: CalibrationState(*[tf.zeros([num_bins], tf.float64)] * 3),
        from_model_output,
        compute,
    )


def brier_score(y_true: Tensor, y_pred: Tensor) -> Tensor:
    """Return the Brier score of each example, the squared error of its probabilities.

        sum_k (p_k - y_k)^2,  of one column (p - y)^2

    It is that of scikit-learn, unless `scale_by_half` is given there.

    Args:
        y_true: class indices or one-hot rows; of one column 0 or 1.
        y_pred: probabilities of shape [batch, ..., K]; or of class 1, [batch] or [batch, 1].

    Returns:
        The score of each example, of the shape of y_pred without its last axis, in its dtype:
        from 0, the best, to 2, or to 1 for one column.

    Raises:
        ValueError: the shapes do not match.

    Example:
        >>> tl.metrics.brier_score([1, 0], [[0.25, 0.75], [0.5, 0.5]]).numpy()
        array([0.125, 0.5  ], dtype=float32)

    References:
        Brier 1950, "Verification of Forecasts Expressed in Terms of Probability".
    """
    y, p = match_labels(y_true, y_pred)
    return tf.reduce_sum(tf.math.squared_difference(p, y), axis=-1)


def log_loss(y_true: Tensor, y_pred: Tensor) -> Tensor:
    """Return the negative log-likelihood of each example, by probabilities.

        -sum_k y_k log p_k,  of one column -y log p - (1 - y) log(1 - p)

    It is the cross-entropy for targets of either form. Probabilities below the smallest normal
    number of their dtype, 1.2e-38 in float32, count as that number.

    Args:
        y_true: class indices or rows of probabilities; of one column 0 or 1.
        y_pred: probabilities of shape [batch, ..., K]; or of class 1, [batch] or [batch, 1].

    Returns:
        The loss of each example, of the shape of y_pred without its last axis, in its dtype.

    Raises:
        ValueError: the shapes do not match.

    Example:
        >>> tl.metrics.log_loss([1, 0], [[0.5, 0.5], [0.25, 0.75]]).numpy().round(3)
        array([0.693, 1.386], dtype=float32)

    Differences:
        Keras: its cross-entropies clip probabilities at 1e-7.
    """
    y, p = match_labels(y_true, y_pred)
    losses = -y * _log(p)
    if p.shape[-1] == 1:
        losses -= (1 - y) * _log(1 - p)
    return tf.reduce_sum(losses, axis=-1)


def _confidences(y_true: Tensor, y_pred: Tensor) -> tuple[Tensor, Tensor]:
    """Return the confidence of each prediction, and 1 where it is correct, else 0, in float64."""
    y_pred = tf.convert_to_tensor(y_pred)
    if y_pred.shape.rank > 1 and y_pred.shape[-1] != 1:
        classes, y_pred = class_indices("expected_calibration_error", y_true, y_pred)
        correct = tf.argmax(y_pred, axis=-1) == classes
        confidence = tf.reduce_max(y_pred, axis=-1)
    else:
        y, p = match_labels(y_true, y_pred)
        confidence, correct = p[..., 0], y[..., 0] != 0
    return tf.cast(confidence, tf.float64), tf.cast(correct, tf.float64)


def _log(p: Tensor) -> Tensor:
    """Return the logarithm of probabilities, finite at 0."""
    return tf.math.log(tf.maximum(p, np.finfo(p.dtype.as_numpy_dtype).tiny))
