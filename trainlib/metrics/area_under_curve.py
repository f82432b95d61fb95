"""The area under a ROC or precision-recall curve, from histograms of the scores."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from trainlib.core.checks import check_choice, check_integer
from trainlib.core.types import Tensor
from trainlib.metrics.base import Metric
from trainlib.metrics.inputs import match_labels, num_columns, weights_like

CURVES = ("ROC", "PR")
SUMMATIONS = ("interpolation", "minoring", "majoring")


class AucState(NamedTuple):
    """State of `auc`: weights in T buckets of the score.

    L is 1, or the number of columns with multi_label.

    Attributes:
        positives: sums of the weights of examples with label 1, float64 [T, L].
        negatives: sums of the weights of the other examples, float64 [T, L].
    """

    positives: Tensor
    negatives: Tensor


def auc(
    num_thresholds: int = 200,
    curve: str = "ROC",
    summation_method: str = "interpolation",
    multi_label: bool = False,
) -> Metric:
    """Compute the area under the ROC or the precision-recall curve.

        ROC    x = FP / (FP + TN),  y = TP / (TP + FN)
        PR     x = TP / (TP + FN),  y = TP / (TP + FP)
        area = sum (x_i - x_(i+1)) height(y_i, y_(i+1))

    With T thresholds t_i = i / (T - 1), the first of them just below 0 and the last just above 1,
    a score p is positive at the thresholds below it. It falls into the bucket

        b = max(ceil(p (T - 1)) - 1, 0),    t_b < p <= t_(b + 1)

    and the sums at a threshold are those of all buckets from there on. Without positives or without
    negatives the area under the ROC curve is 0.

    The metric takes y_true as labels 0 or 1 of the shape of y_pred, or as class indices, and y_pred
    as probabilities; a score outside [0, 1] counts as the nearer end, NaN as 0.

    Args:
        num_thresholds: T, at least 2, evenly spaced over [0, 1]. Default: 200.
        curve: "ROC" or "PR". Default: "ROC".
        summation_method: the height of an interval: "interpolation", the mean of both ends, or for
            PR the integral of precision with TP and FP linear between the ends; "minoring", the
            smaller end; "majoring", the larger. Default: "interpolation".
        multi_label: whether each column has its own area, and the result is their mean; otherwise
            each column of each example counts as an example. Default: False.

    Returns:
        A `Metric` with state `AucState`.

    Raises:
        ValueError, TypeError: an argument is out of range or of the wrong type.

    Example:
        >>> metric = tl.metrics.auc()
        >>> state = metric.from_model_output([0, 1, 0, 1], [0.1, 0.4, 0.35, 0.8])
        >>> float(metric.compute(state))
        1.0

    Differences:
        Keras: custom thresholds and label weights are also accepted.

    References:
        Davis and Goadrich 2006, "The Relationship Between Precision-Recall and ROC Curves".
    """
    check_integer("num_thresholds", num_thresholds, at_least=2)
    check_choice("curve", curve, CURVES)
    check_choice("summation_method", summation_method, SUMMATIONS)

    def empty(outputs: int) -> AucState:
        labels = outputs if multi_label else 1
        return AucState(*[tf.zeros([num_thresholds, labels], tf.float64)] * 2)

    def from_model_output(
        y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None
    ) -> AucState:
        y, p = match_labels(y_true, y_pred)
        w = weights_like(sample_weight, p)
        labels = num_columns(p) if multi_label else 1
        y, p, w = (tf.reshape(x, [-1, labels]) for x in (y != 0, p, w))
        buckets = _buckets(p, num_thresholds)
        zeros = tf.zeros_like(w)
        return AucState(
            _histogram(tf.where(y, w, zeros), buckets, num_thresholds, labels),
            _histogram(tf.where(y, zeros, w), buckets, num_thresholds, labels),
        )

    def compute(state: AucState) -> Tensor:
        tp, fp = (tf.cumsum(x, axis=0, reverse=True) for x in state)
        if (curve, summation_method) == ("PR", "interpolation"):
            return tf.reduce_mean(_interpolated_pr(tp, fp))
        recall = tf.math.divide_no_nan(tp, tp[:1])
        if curve == "ROC":
            x, y = tf.math.divide_no_nan(fp, fp[:1]), recall
        else:
            x, y = recall, tf.math.divide_no_nan(tp, tp + fp)
        heights = _heights(y, summation_method)
        return tf.reduce_mean(tf.reduce_sum((x[:-1] - x[1:]) * heights, axis=0))

    return Metric(empty, from_model_output, compute)


def _buckets(p: Tensor, num_thresholds: int) -> Tensor:
    """Return the bucket of each score; the first bucket for NaN."""
    b = tf.math.ceil(tf.clip_by_value(p, 0.0, 1.0) * (num_thresholds - 1)) - 1
    return tf.cast(tf.where(b > 0, b, tf.zeros_like(b)), tf.int32)


def _histogram(w: Tensor, buckets: Tensor, num_thresholds: int, labels: int) -> Tensor:
    """Sum the weights in each bucket of each column; both arguments have shape [N, L]."""
    positions = buckets * labels + tf.range(labels)
    sums = tf.math.unsorted_segment_sum(
        tf.reshape(w, [-1]), tf.reshape(positions, [-1]), num_thresholds * labels
    )
    return tf.reshape(sums, [num_thresholds, labels])


def _heights(y: Tensor, summation_method: str) -> Tensor:
    """Return the height of each interval, whose ends are y[:-1] and y[1:]."""
    if summation_method == "interpolation":
        return (y[:-1] + y[1:]) / 2
    return (tf.minimum if summation_method == "minoring" else tf.maximum)(y[:-1], y[1:])


def _interpolated_pr(tp: Tensor, fp: Tensor) -> Tensor:
    """Return the area under the precision-recall curve of each column, TP linear in P = TP + FP.

        slope = dTP / dP,  c = TP_b - slope P_b
        area = sum slope (dTP + c log(P_a / P_b)) / TP_0

    from the end a, with more positives, to the end b; without the logarithm where P_b = 0.
    """
    p = tp + fp
    d_tp, d_p = tp[:-1] - tp[1:], p[:-1] - p[1:]
    slope = tf.math.divide_no_nan(d_tp, d_p)
    c = tp[1:] - slope * p[1:]
    ratio = tf.where(p[1:] > 0, tf.math.divide_no_nan(p[:-1], p[1:]), tf.ones_like(d_p))
    areas = tf.math.divide_no_nan(slope * (d_tp + c * tf.math.log(ratio)), tp[:1])
    return tf.reduce_sum(areas, axis=0)
