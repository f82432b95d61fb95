"""Precision, recall and F1, from counts of true and false positives and negatives."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import tensorflow as tf

from trainlib.core.checks import check_choice, check_integer, check_number
from trainlib.core.types import Tensor
from trainlib.metrics.base import Metric
from trainlib.metrics.inputs import flatten_examples, match_labels, num_columns, weights_like

AVERAGES = ("macro", "micro", "weighted", "none")
EPSILON = 1e-7
"""Added to the denominators of F1, as in Keras."""
TINY = 1e-9
"""A row whose largest score is at most this size, such as zeros, has no positive prediction."""


class PositivesState(NamedTuple):
    """State of `precision`, `recall` and `f1_score`: sums of weights.

    The shape is [T] for T thresholds or [K] for K classes.

    Attributes:
        tp: true positives, float64 [T] or [K].
        fp: false positives, float64 [T] or [K].
        fn: false negatives, float64 [T] or [K].
    """

    tp: Tensor
    fp: Tensor
    fn: Tensor


def precision(
    thresholds: float | Sequence[float] | None = None,
    top_k: int | None = None,
    class_id: int | None = None,
) -> Metric:
    """Compute the fraction of positive predictions that are correct, TP / (TP + FP).

    It is 0 if there are none. Each column of each example counts as a prediction. The metric takes
    y_true as labels 0 or 1 of the shape of y_pred, or as class indices.

    Args:
        thresholds: a score above it is positive; a number in [0, 1], or a sequence of them for a
            value each. Default: None, 0.5, or no threshold if top_k is set.
        top_k: only the k largest scores of an example are positive, the first of equal ones; None
            for all. Default: None.
        class_id: the only column that counts; None for all. Default: None.

    Returns:
        A `Metric` with state `PositivesState`.

    Raises:
        ValueError, TypeError: an argument is out of range or of the wrong type.

    Example:
        >>> metric = tl.metrics.precision()
        >>> state = metric.from_model_output([0, 1, 1, 1], [0.9, 0.8, 0.7, 0.1])
        >>> print(f"{float(metric.compute(state)):.3f}")
        0.667

    Differences:
        Keras: with three or more even thresholds, a score at a threshold may count on its other
            side, because its bucket is computed by a product; top_k is taken over the batch for
            y_pred of shape [batch].
    """

    def ratio(state: PositivesState) -> Tensor:
        return tf.math.divide_no_nan(state.tp, state.tp + state.fp)

    return _at_thresholds(ratio, thresholds, top_k, class_id)


def recall(
    thresholds: float | Sequence[float] | None = None,
    top_k: int | None = None,
    class_id: int | None = None,
) -> Metric:
    """Compute the fraction of positive labels that are found, TP / (TP + FN).

    It is 0 if there are none.

    Args:
        thresholds: as in `precision`.
        top_k: as in `precision`.
        class_id: as in `precision`.

    Returns:
        A `Metric` with state `PositivesState`.

    Raises:
        ValueError, TypeError: an argument is out of range or of the wrong type.

    Example:
        >>> metric = tl.metrics.recall(thresholds=[0.5, 0.75])
        >>> state = metric.from_model_output([0, 1, 1, 1], [0.9, 0.8, 0.7, 0.1])
        >>> metric.compute(state).numpy().round(3)
        array([0.667, 0.333])

    Differences:
        Keras: as for `precision`.
    """

    def ratio(state: PositivesState) -> Tensor:
        return tf.math.divide_no_nan(state.tp, state.tp + state.fn)

    return _at_thresholds(ratio, thresholds, top_k, class_id)


def _at_thresholds(
    ratio: Callable[[PositivesState], Tensor],
    thresholds: float | Sequence[float] | None,
    top_k: int | None,
    class_id: int | None,
) -> Metric:
    """Return the metric of a ratio of counts at each threshold."""
    cutoffs = _cutoffs(thresholds, top_k)
    if top_k is not None:
        check_integer("top_k", top_k, at_least=1)
    if class_id is not None:
        check_integer("class_id", class_id, at_least=0)

    def empty(outputs: int) -> PositivesState:
        return PositivesState(*[tf.zeros([len(cutoffs)], tf.float64)] * 3)

    def from_model_output(
        y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None
    ) -> PositivesState:
        y, p = match_labels(y_true, y_pred)
        w = weights_like(sample_weight, p)
        y, eligible = y != 0, _largest(p, top_k)
        if class_id is not None:
            check_integer("class_id", class_id, at_least=0, at_most=num_columns(p) - 1)
            y, p, w, eligible = (x[..., class_id] for x in (y, p, w, eligible))
        y, p, w, eligible = (tf.reshape(x, [-1, 1]) for x in (y, p, w, eligible))
        return _counts(y, (p > tf.constant(cutoffs, p.dtype)) & eligible, w)

    def compute(state: PositivesState) -> Tensor:
        return ratio(state) if len(cutoffs) > 1 else ratio(state)[0]

    return Metric(empty, from_model_output, compute)


def _cutoffs(thresholds: float | Sequence[float] | None, top_k: int | None) -> list[float]:
    """Return the thresholds as a list; -inf where only top_k decides."""
    if thresholds is None:
        return [0.5 if top_k is None else float("-inf")]
    cutoffs = list(thresholds) if isinstance(thresholds, Iterable) else [thresholds]
    if not cutoffs:
        raise ValueError("thresholds must be one number or more, got none")
    for cutoff in cutoffs:
        check_number("thresholds", cutoff, at_least=0, at_most=1)
    return cutoffs


def _largest(p: Tensor, k: int | None) -> Tensor:
    """Return whether each score is among the k largest of its row, the first of equal ones."""
    if k is None:
        return tf.ones(tf.shape(p), tf.bool)
    check_integer("top_k", k, at_least=1, at_most=num_columns(p))
    positions = tf.math.top_k(p, k).indices
    return tf.reduce_any(tf.one_hot(positions, num_columns(p), True, False, dtype=tf.bool), axis=-2)


def _counts(y: Tensor, predicted: Tensor, w: Tensor) -> PositivesState:
    """Count labels, predictions and weights of shape [N, K] or [N, 1]."""

    def total(chosen: Tensor) -> Tensor:
        return tf.reduce_sum(tf.where(chosen, w, tf.zeros([], w.dtype)), axis=0)

    return PositivesState(total(y & predicted), total(~y & predicted), total(y & ~predicted))


def f1_score(average: str = "macro", threshold: float | None = None) -> Metric:
    """Compute the harmonic mean of precision and recall of each class.

        P = TP / (TP + FP + 1e-7)
        R = TP / (TP + FN + 1e-7)
        F1 = 2 P R / (P + R + 1e-7)

    The metric takes y_true as labels 0 or 1 of the shape of y_pred, or as class indices.

    Args:
        average: "macro", the mean over the classes; "weighted", the mean weighted by the examples
            of each class; "micro", F1 of the total counts; "none", a value for each class. Default:
            "macro".
        threshold: a score above it is positive; above 0 and at most 1. Default: None, which takes
            the largest scores of an example unless they are 0; 0.5 for a single column.

    Returns:
        A `Metric` with state `PositivesState`.

    Raises:
        ValueError, TypeError: an argument is out of range or of the wrong type.

    Example:
        >>> metric = tl.metrics.f1_score("none")
        >>> state = metric.from_model_output([0, 1, 1], [[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]])
        >>> metric.compute(state).numpy().round(3)
        array([0.667, 0.667])

    Differences:
        Keras: average is None by default, which is "none" here; without a threshold all examples of
            a single column are positive; labels between 0 and 1 count as fractions.
    """
    check_choice("average", average, AVERAGES)
    if threshold is not None:
        check_number("threshold", threshold, above=0, at_most=1)

    def empty(outputs: int) -> PositivesState:
        return PositivesState(*[tf.zeros([outputs], tf.float64)] * 3)

    def from_model_output(
        y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None
    ) -> PositivesState:
        y, p = match_labels(y_true, y_pred)
        w = weights_like(sample_weight, p)
        return _counts(
            flatten_examples(y) != 0, flatten_examples(_chosen(p, threshold)), flatten_examples(w)
        )

    def compute(state: PositivesState) -> Tensor:
        if average == "micro":
            state = PositivesState(*(tf.reduce_sum(x) for x in state))
        p = state.tp / (state.tp + state.fp + EPSILON)
        r = state.tp / (state.tp + state.fn + EPSILON)
        f1 = 2 * p * r / (p + r + EPSILON)
        if average == "weighted":
            support = state.tp + state.fn
            return tf.reduce_sum(f1 * support / (tf.reduce_sum(support) + EPSILON))
        return f1 if average == "none" else tf.reduce_mean(f1)

    return Metric(empty, from_model_output, compute)


def _chosen(p: Tensor, threshold: float | None) -> Tensor:
    """Return whether each score of [batch, ..., K] is a positive prediction of its class."""
    if threshold is None and num_columns(p) == 1:
        threshold = 0.5
    if threshold is not None:
        return p > threshold
    return (p >= tf.reduce_max(p, axis=-1, keepdims=True)) & (tf.abs(p) > TINY)
