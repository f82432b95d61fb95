"""Counts of true and false positives and negatives, at thresholds or by class."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import tensorflow as tf

from trainlib.core.checks import check_integer, check_number
from trainlib.core.types import Tensor
from trainlib.metrics.base import Metric
from trainlib.metrics.inputs import match_labels, num_columns, weights_like


class PositivesState(NamedTuple):
    """State of `precision`, `recall`, `fbeta_score` and of counts: sums of weights.

    The shape is [T] for T thresholds or [K] for K classes.

    Attributes:
        tp: true positives, float64 [T] or [K].
        fp: false positives, float64 [T] or [K].
        fn: false negatives, float64 [T] or [K].
        tn: true negatives, float64 [T] or [K].
    """

    tp: Tensor
    fp: Tensor
    fn: Tensor
    tn: Tensor

    @classmethod
    def zeros(cls, size: int) -> PositivesState:
        """Return the state of no examples."""
        return cls(*[tf.zeros([size], tf.float64)] * len(cls._fields))


def at_thresholds(
    value: Callable[[PositivesState], Tensor],
    thresholds: Sequence[float] | float | None,
    top_k: int | None = None,
    class_id: int | None = None,
) -> Metric:
    """Return the metric of a function of the counts at each threshold."""
    cutoffs = cutoffs_of(thresholds, top_k)
    if top_k is not None:
        check_integer("top_k", top_k, at_least=1)
    if class_id is not None:
        check_integer("class_id", class_id, at_least=0)

    def empty(outputs: int) -> PositivesState:
        return PositivesState.zeros(len(cutoffs))

    def from_model_output(
        y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None
    ) -> PositivesState:
        y, p = match_labels(y_true, y_pred)
        w = weights_like(sample_weight, p)
        y, eligible = y != 0, among_largest(p, top_k)
        if class_id is not None:
            check_integer("class_id", class_id, at_least=0, at_most=num_columns(p) - 1)
            y, p, w, eligible = (x[..., class_id] for x in (y, p, w, eligible))
        y, p, w, eligible = (tf.reshape(x, [-1, 1]) for x in (y, p, w, eligible))
        return count_positives(y, (p > tf.constant(cutoffs, p.dtype)) & eligible, w)

    def compute(state: PositivesState) -> Tensor:
        return value(state) if len(cutoffs) > 1 else value(state)[0]

    return Metric(empty, from_model_output, compute)


def cutoffs_of(thresholds: Sequence[float] | float | None, top_k: int | None) -> list[float]:
    """Return the thresholds as a list; -inf where only top_k decides."""
    if thresholds is None:
        return [0.5 if top_k is None else float("-inf")]
    cutoffs = list(thresholds) if isinstance(thresholds, Iterable) else [thresholds]
    if not cutoffs:
        raise ValueError("thresholds must be one number or more, got none")
    for cutoff in cutoffs:
        check_number("thresholds", cutoff, at_least=0, at_most=1)
    return cutoffs


def among_largest(p: Tensor, k: int | None) -> Tensor:
    """Return whether each score is among the k largest of its row, the first of equal ones."""
    if k is None:
        return tf.ones(tf.shape(p), tf.bool)
    check_integer("top_k", k, at_least=1, at_most=num_columns(p))
    positions = tf.math.top_k(p, k).indices
    return tf.reduce_any(tf.one_hot(positions, num_columns(p), True, False, dtype=tf.bool), axis=-2)


def count_positives(y: Tensor, predicted: Tensor, w: Tensor) -> PositivesState:
    """Count labels, predictions and weights of shape [N, K] or [N, 1]."""

    def total(chosen: Tensor) -> Tensor:
        return tf.reduce_sum(tf.where(chosen, w, tf.zeros([], w.dtype)), axis=0)

    return PositivesState(
        tp=total(y & predicted),
        fp=total(~y & predicted),
        fn=total(y & ~predicted),
        tn=total(~y & ~predicted),
    )
