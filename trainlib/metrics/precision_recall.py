"""Precision, recall and F1: ratios of counts of true and false positives and negatives."""

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
"""What Keras adds to the denominators of F1."""
TINY = 1e-9
"""A largest score of at most this size, as in a row of zeros, predicts nothing."""


class PositivesState(NamedTuple):
    """Sums of weights, float64: true positives, false positives and false negatives.

    [T] for each of T thresholds, or [K] for each of K classes.
    """

    tp: Tensor
    fp: Tensor
    fn: Tensor


def precision(
    thresholds: float | Sequence[float] | None = None,
    top_k: int | None = None,
    class_id: int | None = None,
) -> Metric:
    """TP / (TP + FP): the share of what was predicted that is true; 0 where nothing was.

    Each column of each example counts as a prediction of its own.

    Args:
        thresholds: scores above one are predicted; a number in [0, 1], or several, which give a
            value each. None is 0.5, and with top_k no threshold at all.
        top_k: only the k largest scores of an example are predicted, the first of equal ones;
            None for all.
        class_id: the only column that counts; None for all.

    y_true: labels 0 or 1 in the shape of y_pred, or class indices.

    Differs from: Keras, which finds the place of a score among three or more even thresholds by a
    product, and so may see one at a threshold on its other side; and which takes top_k over a
    batch of shape [batch].
    """

    def ratio(record: PositivesState) -> Tensor:
        return tf.math.divide_no_nan(record.tp, record.tp + record.fp)

    return _at_thresholds(ratio, thresholds, top_k, class_id)


def recall(
    thresholds: float | Sequence[float] | None = None,
    top_k: int | None = None,
    class_id: int | None = None,
) -> Metric:
    """TP / (TP + FN): the share of what is true that was predicted; 0 where nothing is.

    Args:
        thresholds: as in `precision`.
        top_k: as in `precision`.
        class_id: as in `precision`.

    Differs from: Keras, as `precision` does.
    """

    def ratio(record: PositivesState) -> Tensor:
        return tf.math.divide_no_nan(record.tp, record.tp + record.fn)

    return _at_thresholds(ratio, thresholds, top_k, class_id)


def _at_thresholds(
    ratio: Callable[[PositivesState], Tensor],
    thresholds: float | Sequence[float] | None,
    top_k: int | None,
    class_id: int | None,
) -> Metric:
    """The metric of a ratio of counts, at each threshold."""
    levels = _levels(thresholds, top_k)
    if top_k is not None:
        check_integer("top_k", top_k, at_least=1)
    if class_id is not None:
        check_integer("class_id", class_id, at_least=0)

    def zero(outputs: int) -> PositivesState:
        return PositivesState(*[tf.zeros([len(levels)], tf.float64)] * 3)

    def from_model_output(
        y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None
    ) -> PositivesState:
        y, p = match_labels(y_true, y_pred)
        w = weights_like(sample_weight, p)
        y, taken = y != 0, _largest(p, top_k)
        if class_id is not None:
            check_integer("class_id", class_id, at_least=0, at_most=num_columns(p) - 1)
            y, p, w, taken = (x[..., class_id] for x in (y, p, w, taken))
        y, p, w, taken = (tf.reshape(x, [-1, 1]) for x in (y, p, w, taken))
        return _counts(y, (p > tf.constant(levels, p.dtype)) & taken, w)

    def result(record: PositivesState) -> Tensor:
        return ratio(record) if len(levels) > 1 else ratio(record)[0]

    return Metric(zero, from_model_output, result)


def _levels(thresholds: float | Sequence[float] | None, top_k: int | None) -> list[float]:
    """The thresholds as a list; below all scores where top_k alone decides."""
    if thresholds is None:
        return [0.5 if top_k is None else float("-inf")]
    levels = list(thresholds) if isinstance(thresholds, Iterable) else [thresholds]
    if not levels:
        raise ValueError("thresholds must be one number or more, got none")
    for level in levels:
        check_number("thresholds", level, at_least=0, at_most=1)
    return levels


def _largest(p: Tensor, k: int | None) -> Tensor:
    """Whether each score is among the k largest of its row; of equal ones the first are."""
    if k is None:
        return tf.ones(tf.shape(p), tf.bool)
    check_integer("top_k", k, at_least=1, at_most=num_columns(p))
    places = tf.math.top_k(p, k).indices
    return tf.reduce_any(tf.one_hot(places, num_columns(p), True, False, dtype=tf.bool), axis=-2)


def _counts(y: Tensor, predicted: Tensor, w: Tensor) -> PositivesState:
    """The record of labels, predictions and weights of shape [N, K] or [N, 1]."""

    def total(chosen: Tensor) -> Tensor:
        return tf.reduce_sum(tf.where(chosen, w, tf.zeros([], w.dtype)), axis=0)

    return PositivesState(total(y & predicted), total(~y & predicted), total(y & ~predicted))


def f1_score(average: str = "macro", threshold: float | None = None) -> Metric:
    """The harmonic mean of precision and recall of each class,

        P = TP / (TP + FP + 1e-7)
        R = TP / (TP + FN + 1e-7)
        F1 = 2 P R / (P + R + 1e-7)

    Args:
        average: "macro", the mean over the classes; "weighted", weighted by the examples of each
            class; "micro", F1 of the counts of all the classes; "none", a value for each class.
        threshold: scores above it are predicted; above 0 and at most 1. None is the largest score
            of an example, or of several equal ones all, unless it is 0; with one column, 0.5.

    y_true: labels 0 or 1 in the shape of y_pred, or class indices.

    Differs from: Keras, where average is None by default, for "none"; which without a threshold
    predicts 1 for all of a single column; and which takes labels between 0 and 1 as parts.
    """
    check_choice("average", average, AVERAGES)
    if threshold is not None:
        check_number("threshold", threshold, above=0, at_most=1)

    def zero(outputs: int) -> PositivesState:
        return PositivesState(*[tf.zeros([outputs], tf.float64)] * 3)

    def from_model_output(
        y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None
    ) -> PositivesState:
        y, p = match_labels(y_true, y_pred)
        w = weights_like(sample_weight, p)
        return _counts(
            flatten_examples(y) != 0, flatten_examples(_chosen(p, threshold)), flatten_examples(w)
        )

    def result(record: PositivesState) -> Tensor:
        if average == "micro":
            record = PositivesState(*(tf.reduce_sum(x) for x in record))
        p = record.tp / (record.tp + record.fp + EPSILON)
        r = record.tp / (record.tp + record.fn + EPSILON)
        f1 = 2 * p * r / (p + r + EPSILON)
        if average == "weighted":
            support = record.tp + record.fn
            return tf.reduce_sum(f1 * support / (tf.reduce_sum(support) + EPSILON))
        return f1 if average == "none" else tf.reduce_mean(f1)

    return Metric(zero, from_model_output, result)


def _chosen(p: Tensor, threshold: float | None) -> Tensor:
    """Whether each score of [batch, ..., K] is a prediction of its class."""
    if threshold is None and num_columns(p) == 1:
        threshold = 0.5
    if threshold is not None:
        return p > threshold
    return (p >= tf.reduce_max(p, axis=-1, keepdims=True)) & (tf.abs(p) > TINY)
