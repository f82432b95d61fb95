"""F-scores: weighted harmonic means of precision and recall."""

from __future__ import annotations

import tensorflow as tf

from trainlib.core.checks import check_choice, check_number
from trainlib.core.types import Tensor
from trainlib.metrics.base import Metric
from trainlib.metrics.inputs import flatten_examples, match_labels, num_columns, weights_like
from trainlib.metrics.positives import PositivesState, count_positives

AVERAGES = ("macro", "micro", "weighted", "none")
EPSILON = 1e-7
"""Added to the denominators, as in Keras."""
TINY = 1e-9
"""A row whose largest score is at most this size, such as zeros, has no positive prediction."""


def fbeta_score(
    average: str = "macro", beta: float = 1.0, threshold: float | None = None
) -> Metric:
    """Compute a weighted harmonic mean of precision and recall of each class.

        P = TP / (TP + FP + 1e-7)
        R = TP / (TP + FN + 1e-7)
        F = (1 + beta^2) P R / (beta^2 P + R + 1e-7)

    The metric takes y_true as labels 0 or 1 of the shape of y_pred, or as class indices.

    Args:
        average: "macro", the mean over the classes; "weighted", the mean weighted by the examples
            of each class; "micro", F of the total counts; "none", a value for each class. Default:
            "macro".
        beta: how many times as important recall is as precision, above 0. Default: 1.
        threshold: a score above it is positive; above 0 and at most 1. Default: None, which takes
            the largest scores of an example unless they are 0; 0.5 for a single column.

    Returns:
        A `Metric` with state `PositivesState`.

    Raises:
        ValueError, TypeError: an argument is out of range or of the wrong type.

    Example:
        >>> metric = tl.metrics.fbeta_score("none", beta=2.0)
        >>> state = metric.from_model_output([0, 1, 1], [[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]])
        >>> metric.compute(state).numpy().round(3)
        array([0.833, 0.556])

    Differences:
        Keras: average is None by default, which is "none" here; without a threshold all examples of
            a single column are positive; labels between 0 and 1 count as fractions.

    References:
        Van Rijsbergen 1979, "Information Retrieval".
    """
    check_choice("average", average, AVERAGES)
    check_number("beta", beta, above=0)
    if threshold is not None:
        check_number("threshold", threshold, above=0, at_most=1)
    weight = beta * beta

    def from_model_output(
        y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None
    ) -> PositivesState:
        y, p = match_labels(y_true, y_pred)
        w = weights_like(sample_weight, p)
        return count_positives(
            flatten_examples(y) != 0, flatten_examples(_chosen(p, threshold)), flatten_examples(w)
        )

    def compute(state: PositivesState) -> Tensor:
        if average == "micro":
            state = PositivesState(*(tf.reduce_sum(x) for x in state))
        p = state.tp / (state.tp + state.fp + EPSILON)
        r = state.tp / (state.tp + state.fn + EPSILON)
        f = (1 + weight) * p * r / (weight * p + r + EPSILON)
        if average == "weighted":
            support = state.tp + state.fn
            return tf.reduce_sum(f * support / (tf.reduce_sum(support) + EPSILON))
        return f if average == "none" else tf.reduce_mean(f)

    return Metric(PositivesState.zeros, from_model_output, compute)


def f1_score(average: str = "macro", threshold: float | None = None) -> Metric:
    """Compute the harmonic mean of precision and recall of each class, F = 2 P R / (P + R).

    It is `fbeta_score` with beta 1, which has the equations.

    Args:
        average: as in `fbeta_score`. Default: "macro".
        threshold: as in `fbeta_score`. Default: None.

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
        Keras: as for `fbeta_score`.
    """
    return fbeta_score(average, 1.0, threshold)


def _chosen(p: Tensor, threshold: float | None) -> Tensor:
    """Return whether each score of [batch, ..., K] is a positive prediction of its class."""
    if threshold is None and num_columns(p) == 1:
        threshold = 0.5
    if threshold is not None:
        return p > threshold
    return (p >= tf.reduce_max(p, axis=-1, keepdims=True)) & (tf.abs(p) > TINY)
