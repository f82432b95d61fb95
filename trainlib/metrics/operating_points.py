"""One rate of a binary classifier at the best threshold at which another is high enough."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from trainlib.core.checks import check_integer, check_number
from trainlib.core.types import Tensor
from trainlib.metrics.base import Metric
from trainlib.metrics.inputs import match_labels, num_columns, weights_like
from trainlib.metrics.score_histograms import HistogramState, even_buckets

Rate = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
"""A function of TP, FP, FN and TN at each threshold."""


def _precision(tp: Tensor, fp: Tensor, fn: Tensor, tn: Tensor) -> Tensor:
    return tf.math.divide_no_nan(tp, tp + fp)


def _sensitivity(tp: Tensor, fp: Tensor, fn: Tensor, tn: Tensor) -> Tensor:
    return tf.math.divide_no_nan(tp, tp + fn)


def _specificity(tp: Tensor, fp: Tensor, fn: Tensor, tn: Tensor) -> Tensor:
    return tf.math.divide_no_nan(tn, tn + fp)


def precision_at_recall(
    recall: float, num_thresholds: int = 200, class_id: int | None = None
) -> Metric:
    """Compute the largest precision at the thresholds where recall is at least a bound.

    The thresholds are i / (T - 1), i = 0 ... T - 1; a score above one is positive. The result is 0
    if recall is too small at all of them. The metric takes y_true as labels 0 or 1 of the shape of
    y_pred, or as class indices, and y_pred as probabilities.

    Args:
        recall: the bound, in [0, 1].
        num_thresholds: T, at least 1; 1 is the threshold 0.5 alone. Default: 200.
        class_id: the only column that counts; None for all. Default: None.

    Returns:
        A `Metric` with state `HistogramState`.

    Raises:
        ValueError, TypeError: an argument is out of range or of the wrong type.

    Example:
        >>> metric = tl.metrics.precision_at_recall(0.5)
        >>> state = metric.from_model_output([0, 0, 1, 1], [0.1, 0.6, 0.3, 0.9])
        >>> float(metric.compute(state))
        1.0
    """
    return _at(_sensitivity, "recall", recall, _precision, num_thresholds, class_id)


def recall_at_precision(
    precision: float, num_thresholds: int = 200, class_id: int | None = None
) -> Metric:
    """Compute the largest recall at the thresholds where precision is at least a bound.

    Args:
        precision: the bound, in [0, 1].
        num_thresholds: as in `precision_at_recall`. Default: 200.
        class_id: as in `precision_at_recall`. Default: None.

    Returns:
        A `Metric` with state `HistogramState`.

    Raises:
        ValueError, TypeError: an argument is out of range or of the wrong type.

    Example:
        >>> metric = tl.metrics.recall_at_precision(0.8)
        >>> state = metric.from_model_output([0, 0, 1, 1], [0.1, 0.6, 0.3, 0.9])
        >>> float(metric.compute(state))
        0.5
    """
    return _at(_precision, "precision", precision, _sensitivity, num_thresholds, class_id)


def sensitivity_at_specificity(
    specificity: float, num_thresholds: int = 200, class_id: int | None = None
) -> Metric:
    """Compute the largest TP / (TP + FN) where TN / (TN + FP) is at least a bound.

    Args:
        specificity: the bound, in [0, 1].
        num_thresholds: as in `precision_at_recall`. Default: 200.
        class_id: as in `precision_at_recall`. Default: None.

    Returns:
        A `Metric` with state `HistogramState`.

    Raises:
        ValueError, TypeError: an argument is out of range or of the wrong type.

    Example:
        >>> metric = tl.metrics.sensitivity_at_specificity(1.0)
        >>> state = metric.from_model_output([0, 0, 1, 1], [0.1, 0.6, 0.3, 0.9])
        >>> float(metric.compute(state))
        0.5
    """
    return _at(_specificity, "specificity", specificity, _sensitivity, num_thresholds, class_id)


def specificity_at_sensitivity(
    sensitivity: float, num_thresholds: int = 200, class_id: int | None = None
) -> Metric:
    """Compute the largest TN / (TN + FP) where TP / (TP + FN) is at least a bound.

    Args:
        sensitivity: the bound, in [0, 1].
        num_thresholds: as in `precision_at_recall`. Default: 200.
        class_id: as in `precision_at_recall`. Default: None.

    Returns:
        A `Metric` with state `HistogramState`.

    Raises:
        ValueError, TypeError: an argument is out of range or of the wrong type.

    Example:
        >>> metric = tl.metrics.specificity_at_sensitivity(1.0)
        >>> state = metric.from_model_output([0, 0, 1, 1], [0.1, 0.6, 0.3, 0.9])
        >>> float(metric.compute(state))
        0.5
    """
    return _at(_sensitivity, "sensitivity", sensitivity, _specificity, num_thresholds, class_id)


def _at(
    bounded: Rate,
    name: str,
    bound: float,
    rate: Rate,
    num_thresholds: int,
    class_id: int | None,
) -> Metric:
    """Return the metric of the largest rate where the other one is at least the bound.

    Args:
        bounded: the rate that has the bound.
        name: its name in error messages.
        bound: the bound.
        rate: the rate whose largest value is the result.
        num_thresholds: number of thresholds.
        class_id: the only column that counts; None for all.
    """
    check_number(name, bound, at_least=0, at_most=1)
    check_integer("num_thresholds", num_thresholds, at_least=1)
    if class_id is not None:
        check_integer("class_id", class_id, at_least=0)
    buckets = even_buckets(num_thresholds)

    def from_model_output(
        y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None
    ) -> HistogramState:
        y, p = match_labels(y_true, y_pred)
        w = weights_like(sample_weight, p)
        if class_id is not None:
            check_integer("class_id", class_id, at_least=0, at_most=num_columns(p) - 1)
            y, p, w = (x[..., class_id] for x in (y, p, w))
        y, p, w = (tf.reshape(x, [-1, 1]) for x in (y != 0, p, w))
        return HistogramState.from_scores(y, buckets(p), w, num_thresholds)

    def compute(state: HistogramState) -> Tensor:
        counts = state.counts()
        found = rate(*counts)
        return tf.reduce_max(tf.where(bounded(*counts) >= bound, found, tf.zeros_like(found)))

    return Metric(
        lambda outputs: HistogramState.zeros(num_thresholds, 1), from_model_output, compute
    )
