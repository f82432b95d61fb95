"""The area under a curve over thresholds, from histograms of the scores.

With T thresholds t_i = i / (T - 1), of which the first is just below 0 and the last just above 1,
a score p counts as predicted at the thresholds below it. It falls into the bucket

    b = max(ceil(p (T - 1)) - 1, 0),    t_b < p <= t_(b + 1)

and the sums at a threshold are those of all the buckets from there on.
"""

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
    """Sums of weights in T buckets of the score, float64 [T, L]; L is 1, or K by multi_label.

    positives: of the examples whose label is 1. negatives: of the others.
    """

    positives: Tensor
    negatives: Tensor


def auc(
    num_thresholds: int = 200,
    curve: str = "ROC",
    summation_method: str = "interpolation",
    multi_label: bool = False,
) -> Metric:
    """The area under the curve of the true over the false positive rate, or of precision over
    recall, as a sum over the intervals between thresholds.

        ROC    x = FP / (FP + TN),  y = TP / (TP + FN)
        PR     x = TP / (TP + FN),  y = TP / (TP + FP)
        area = sum (x_i - x_(i+1)) height(y_i, y_(i+1))

    Without positives or without negatives the area of ROC is 0.

    Args:
        num_thresholds: at least 2, spread evenly over [0, 1].
        curve: "ROC" or "PR".
        summation_method: the height: "interpolation", the mean of both ends, and of PR the
            integral of precision with TP and FP linear between the ends; "minoring", the smaller
            end; "majoring", the larger.
        multi_label: whether each column has an area of its own, of which the result is the mean;
            otherwise each column of each example counts as an example.

    y_true: labels 0 or 1 in the shape of y_pred, or class indices. y_pred: probabilities; a score
    outside [0, 1] counts as the nearer end, one that is no number as 0.

    Differs from: nobody. Keras takes other thresholds and weights of labels too.

    Reference: Davis and Goadrich 2006, "The Relationship Between Precision-Recall and ROC Curves".
    """
    check_integer("num_thresholds", num_thresholds, at_least=2)
    check_choice("curve", curve, CURVES)
    check_choice("summation_method", summation_method, SUMMATIONS)

    def zero(outputs: int) -> AucState:
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
        nothing = tf.zeros_like(w)
        return AucState(
            _histogram(tf.where(y, w, nothing), buckets, num_thresholds, labels),
            _histogram(tf.where(y, nothing, w), buckets, num_thresholds, labels),
        )

    def result(record: AucState) -> Tensor:
        tp, fp = (tf.cumsum(x, axis=0, reverse=True) for x in record)
        if (curve, summation_method) == ("PR", "interpolation"):
            return tf.reduce_mean(_interpolated_pr(tp, fp))
        recall = tf.math.divide_no_nan(tp, tp[:1])
        if curve == "ROC":
            x, y = tf.math.divide_no_nan(fp, fp[:1]), recall
        else:
            x, y = recall, tf.math.divide_no_nan(tp, tp + fp)
        heights = _heights(y, summation_method)
        return tf.reduce_mean(tf.reduce_sum((x[:-1] - x[1:]) * heights, axis=0))

    return Metric(zero, from_model_output, result)


def _buckets(p: Tensor, num_thresholds: int) -> Tensor:
    """The bucket of each score; the first for one that is no number."""
    b = tf.math.ceil(tf.clip_by_value(p, 0.0, 1.0) * (num_thresholds - 1)) - 1
    return tf.cast(tf.where(b > 0, b, tf.zeros_like(b)), tf.int32)


def _histogram(w: Tensor, buckets: Tensor, num_thresholds: int, labels: int) -> Tensor:
    """The sums of the weights in each bucket of each column; both [N, L]."""
    places = buckets * labels + tf.range(labels)
    sums = tf.math.unsorted_segment_sum(
        tf.reshape(w, [-1]), tf.reshape(places, [-1]), num_thresholds * labels
    )
    return tf.reshape(sums, [num_thresholds, labels])


def _heights(y: Tensor, summation_method: str) -> Tensor:
    """The height of each interval, whose ends are at y[:-1] and y[1:]."""
    if summation_method == "interpolation":
        return (y[:-1] + y[1:]) / 2
    return (tf.minimum if summation_method == "minoring" else tf.maximum)(y[:-1], y[1:])


def _interpolated_pr(tp: Tensor, fp: Tensor) -> Tensor:
    """The areas under precision and recall, by column, TP linear in P = TP + FP in an interval.

        slope = dTP / dP,  c = TP_b - slope P_b
        area = sum slope (dTP + c log(P_a / P_b)) / TP_0

    from the end a, with more predicted, to the end b; without the logarithm where P_b = 0.
    """
    p = tp + fp
    d_tp, d_p = tp[:-1] - tp[1:], p[:-1] - p[1:]
    slope = tf.math.divide_no_nan(d_tp, d_p)
    c = tp[1:] - slope * p[1:]
    ratio = tf.where(p[1:] > 0, tf.math.divide_no_nan(p[:-1], p[1:]), tf.ones_like(d_p))
    areas = tf.math.divide_no_nan(slope * (d_tp + c * tf.math.log(ratio)), tp[:1])
    return tf.reduce_sum(areas, axis=0)
