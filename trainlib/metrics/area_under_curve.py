"""The area under a ROC or precision-recall curve, from histograms of the scores."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from trainlib.core.checks import check_choice, check_integer, check_number
from trainlib.core.types import Tensor
from trainlib.metrics.base import Metric
from trainlib.metrics.inputs import match_labels, num_columns, weights_like
from trainlib.metrics.score_histograms import (
    Buckets,
    HistogramState,
    custom_buckets,
    even_buckets,
)

CURVES = ("ROC", "PR", "PRGAIN")
SUMMATIONS = ("interpolation", "minoring", "majoring")


def auc(
    num_thresholds: int = 200,
    curve: str = "ROC",
    summation_method: str = "interpolation",
    thresholds: Sequence[float] | None = None,
    multi_label: bool = False,
    label_weights: Sequence[float] | None = None,
) -> Metric:
    """Compute the area under the ROC, the precision-recall or the precision-recall-gain curve.

        ROC     x = FP / (FP + TN),              y = TP / (TP + FN)
        PR      x = TP / (TP + FN),              y = TP / (TP + FP)
        PRGAIN  x = max(1 - pi FN / TP, 0),      y = 1 - pi FP / TP,    pi = (TP + FN) / (TN + FP)
        area = sum (x_i - x_(i+1)) height(y_i, y_(i+1))

    With T thresholds t_i = i / (T - 1), the first of them just below 0 and the last just above 1,
    a score p is positive at the thresholds below it. Without positives or without negatives the
    area under the ROC curve is 0.

    The metric takes y_true as labels 0 or 1 of the shape of y_pred, or as class indices, and y_pred
    as probabilities; a score outside [0, 1] counts as the nearer end, NaN as 0.

    Args:
        num_thresholds: T, at least 2, evenly spaced over [0, 1]. Default: 200.
        curve: "ROC", "PR" or "PRGAIN". Default: "ROC".
        summation_method: the height of an interval: "interpolation", the mean of both ends, or for
            PR the integral of precision with TP and FP linear between the ends; "minoring", the
            smaller end; "majoring", the larger. Default: "interpolation".
        thresholds: the thresholds between both ends, numbers in [0, 1]; num_thresholds is then
            ignored. Default: None, even ones.
        multi_label: whether each column has its own area, and the result is their mean; otherwise
            each column of each example counts as an example. Default: False.
        label_weights: a weight of at least 0 for each column of y_pred: in the mean of the areas
            with multi_label, of its scores without. Default: None, a weight of 1.

    Returns:
        A `Metric` with state `HistogramState`.

    Raises:
        ValueError, TypeError: an argument is out of range or of the wrong type.

    Example:
        >>> metric = tl.metrics.auc()
        >>> state = metric.from_model_output([0, 1, 0, 1], [0.1, 0.4, 0.35, 0.8])
        >>> float(metric.compute(state))
        1.0

    Differences:
        Keras: a score at one of even custom thresholds may count on its other side, because its
            bucket is computed by a product.

    References:
        Davis and Goadrich 2006, "The Relationship Between Precision-Recall and ROC Curves".
        Flach and Kull 2015, "Precision-Recall-Gain Curves: PR Analysis Done Right".
    """
    check_choice("curve", curve, CURVES)
    check_choice("summation_method", summation_method, SUMMATIONS)
    size, buckets = _grid(num_thresholds, thresholds)
    for weight in () if label_weights is None else label_weights:
        check_number("label_weights", weight, at_least=0)

    def empty(outputs: int) -> HistogramState:
        return HistogramState.zeros(size, outputs if multi_label else 1)

    def from_model_output(
        y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None
    ) -> HistogramState:
        y, p = match_labels(y_true, y_pred)
        w = weights_like(sample_weight, p)
        if label_weights is not None and not multi_label:
            w *= _of_columns(label_weights, num_columns(p))
        labels = num_columns(p) if multi_label else 1
        y, p, w = (tf.reshape(x, [-1, labels]) for x in (y != 0, p, w))
        return HistogramState.from_scores(y, buckets(p), w, size)

    def compute(state: HistogramState) -> Tensor:
        tp, fp, fn, tn = state.counts()
        if (curve, summation_method) == ("PR", "interpolation"):
            areas = _interpolated_pr(tp, fp)
        else:
            x, y = _points(curve, tp, fp, fn, tn)
            areas = tf.reduce_sum((x[:-1] - x[1:]) * _heights(y, summation_method), axis=0)
        if label_weights is None or not multi_label:
            return tf.reduce_mean(areas)
        weights = _of_columns(label_weights, num_columns(areas))
        return tf.math.divide_no_nan(tf.reduce_sum(weights * areas), tf.reduce_sum(weights))

    return Metric(empty, from_model_output, compute)


def _grid(num_thresholds: int, thresholds: Sequence[float] | None) -> tuple[int, Buckets]:
    """Return the number of thresholds, both ends included, and the buckets between them.

    Every score is above the first threshold, which is below 0, and none above the last.
    """
    check_integer("num_thresholds", num_thresholds, at_least=2)
    if thresholds is None:
        even = even_buckets(num_thresholds)
        return num_thresholds, lambda p: tf.maximum(even(p), 1)
    for threshold in thresholds:
        check_number("thresholds", threshold, at_least=0, at_most=1)
    between = custom_buckets(list(thresholds))
    return len(thresholds) + 2, lambda p: between(p) + 1


def _of_columns(label_weights: Sequence[float], columns: int) -> Tensor:
    """Return the weights of the columns in float64."""
    if len(label_weights) != columns:
        raise ValueError(
            f"label_weights must hold one weight for each of the {columns} columns of y_pred, got "
            f"{len(label_weights)}"
        )
    return tf.constant([float(weight) for weight in label_weights], tf.float64)


def _points(curve: str, tp: Tensor, fp: Tensor, fn: Tensor, tn: Tensor) -> tuple[Tensor, Tensor]:
    """Return the coordinates of a curve at each threshold."""
    divide = tf.math.divide_no_nan
    recall = divide(tp, tp + fn)
    if curve == "ROC":
        return divide(fp, fp + tn), recall
    if curve == "PR":
        return recall, divide(tp, tp + fp)
    ratio = divide(tp + fn, tn + fp)
    gain = tf.maximum(1 - ratio * divide(fn, tp), 0)
    return tf.where(tp > 0, gain, tf.zeros_like(gain)), 1 - ratio * divide(fp, tp)


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
