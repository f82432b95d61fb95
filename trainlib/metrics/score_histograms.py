"""Histograms of the scores, from which the counts at many thresholds follow."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from trainlib.core.types import Tensor

Buckets = Callable[[Tensor], Tensor]
"""`(scores) -> number of the thresholds that are below each score`, integers."""


class HistogramState(NamedTuple):
    """State of `auc` and of the metrics at an operating point: weights by bucket of the score.

    For T thresholds there are B = T + 1 buckets: the first holds the scores that are above no
    threshold, the last those above all. L is 1, or the number of columns with multi_label.

    Attributes:
        positives: sums of the weights of examples with label 1, float64 [B, L].
        negatives: sums of the weights of the other examples, float64 [B, L].
    """

    positives: Tensor
    negatives: Tensor

    @classmethod
    def zeros(cls, num_thresholds: int, labels: int) -> HistogramState:
        """Return the state of no examples."""
        return cls(*[tf.zeros([num_thresholds + 1, labels], tf.float64)] * 2)

    @classmethod
    def from_scores(
        cls, y: Tensor, buckets: Tensor, w: Tensor, num_thresholds: int
    ) -> HistogramState:
        """Return the state of labels (bools), buckets and weights of shape [N, L]."""
        zeros = tf.zeros_like(w)
        size = num_thresholds + 1
        return cls(
            _histogram(tf.where(y, w, zeros), buckets, size),
            _histogram(tf.where(y, zeros, w), buckets, size),
        )

    def counts(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return TP, FP, FN and TN at each threshold, float64 [T, L]."""
        (tp, all_true), (fp, all_false) = map(_above, self)
        return tp, fp, all_true - tp, all_false - fp


def even_buckets(num_thresholds: int) -> Buckets:
    """Return the buckets of the T thresholds i / (T - 1), from 0 to 1; of 0.5 alone for T = 1.

        b = ceil(p (T - 1)),    t_(b - 1) < p <= t_b

    A score outside [0, 1] counts as the nearer end, NaN as 0.
    """
    if num_thresholds == 1:
        return custom_buckets([0.5])

    def buckets(p: Tensor) -> Tensor:
        b = tf.math.ceil(tf.clip_by_value(p, 0.0, 1.0) * (num_thresholds - 1))
        return tf.cast(tf.where(b > 0, b, tf.zeros_like(b)), tf.int32)

    return buckets


def custom_buckets(thresholds: list[float]) -> Buckets:
    """Return the buckets of thresholds in any order."""

    def buckets(p: Tensor) -> Tensor:
        above = p[..., tf.newaxis] > tf.constant(thresholds, p.dtype)
        return tf.math.count_nonzero(above, axis=-1, dtype=tf.int32)

    return buckets


def _histogram(w: Tensor, buckets: Tensor, size: int) -> Tensor:
    """Sum the weights in each bucket of each column; both arguments have shape [N, L]."""
    labels = int(w.shape[-1])
    positions = buckets * labels + tf.range(labels)
    sums = tf.math.unsorted_segment_sum(
        tf.reshape(w, [-1]), tf.reshape(positions, [-1]), size * labels
    )
    return tf.reshape(sums, [size, labels])


def _above(sums: Tensor) -> tuple[Tensor, Tensor]:
    """Return the weight above each threshold, and the whole weight."""
    totals = tf.cumsum(sums, axis=0, reverse=True)
    return totals[1:], totals[:1]
