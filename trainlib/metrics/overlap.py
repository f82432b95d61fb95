"""Dice and Tversky losses over all examples, as metrics that merge."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

import trainlib.losses as losses
from trainlib.core.types import Tensor
from trainlib.losses.inputs import EPSILON, Axis
from trainlib.losses.overlap import tversky_weights
from trainlib.metrics.base import Metric, mean
from trainlib.metrics.inputs import match_labels, weights_like, zero_where_excluded


class OverlapState(NamedTuple):
    """State of `dice` and `tversky` over all examples: sums of weights, for y_true y and y_pred p.

    Attributes:
        both: sum w y p, float64 [].
        false: sum w (1 - y) p, float64 [].
        missed: sum w y (1 - p), float64 [].
        count: sum w, float64 [].
    """

    both: Tensor
    false: Tensor
    missed: Tensor
    count: Tensor


def dice(axis: Axis = None) -> Metric:
    """Compute the Dice loss over all examples together, or its mean over the examples.

    The equation is that of `tl.losses.dice`; without examples the value is 0.

    Args:
        axis: None, the sums are over all examples; or the axes to sum over, such as (1, 2, 3), and
            the result is the mean of the losses. Default: None.

    Returns:
        A `Metric` with state `OverlapState`, or `Mean` with an axis.

    Example:
        >>> metric = tl.metrics.dice()
        >>> state = metric.from_model_output([[1.0, 1.0, 0.0]], [[1.0, 0.5, 0.5]])
        >>> print(f"{float(metric.compute(state)):.2f}")
        0.25

    Differences:
        Keras: the losses of batches are averaged, so that they depend on the batch size.
    """
    if axis is not None:
        return mean(functools.partial(losses.dice, axis=axis))

    def loss(s: OverlapState) -> Tensor:
        return 1 - 2 * s.both / (2 * s.both + s.false + s.missed + EPSILON)

    return _over_all(loss)


def tversky(
    alpha: float = 0.5,
    beta: float = 0.5,
    axis: Axis = None,
    alpha_weighs: str = "false_positives",
) -> Metric:
    """Compute the Tversky loss over all examples together, or its mean over the examples.

    The equation is that of `tl.losses.tversky`; without examples the value is 0.

    Args:
        alpha: as in `tl.losses.tversky`. Default: 0.5.
        beta: as in `tl.losses.tversky`. Default: 0.5.
        axis: as in `dice`. Default: None.
        alpha_weighs: as in `tl.losses.tversky`. Default: "false_positives".

    Returns:
        A `Metric` with state `OverlapState`, or `Mean` with an axis.

    Raises:
        ValueError, TypeError: an option is out of range.

    Example:
        >>> metric = tl.metrics.tversky(alpha=0.7, beta=0.3)
        >>> state = metric.from_model_output([[1.0, 1.0, 0.0]], [[1.0, 0.5, 0.5]])
        >>> print(f"{float(metric.compute(state)):.2f}")
        0.25

    Differences:
        Keras: the losses of batches are averaged, so that they depend on the batch size.
    """
    of_false, of_missed = tversky_weights(alpha, beta, alpha_weighs)
    if axis is not None:

        def of_examples(y_true: Tensor, y_pred: Tensor) -> Tensor:
            return losses.tversky(y_true, y_pred, alpha, beta, axis, alpha_weighs)

        return mean(of_examples)

    def loss(s: OverlapState) -> Tensor:
        return 1 - s.both / (s.both + of_false * s.false + of_missed * s.missed + EPSILON)

    return _over_all(loss)


def _over_all(loss: Callable[[OverlapState], Tensor]) -> Metric:
    """Return the metric of a function of the sums over all examples."""

    def from_model_output(
        y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None
    ) -> OverlapState:
        y, p = (tf.cast(x, tf.float64) for x in match_labels(y_true, y_pred))
        w = weights_like(sample_weight, p)
        y, p = zero_where_excluded(w, y, p)
        return OverlapState(
            both=tf.reduce_sum(w * y * p),
            false=tf.reduce_sum(w * (1 - y) * p),
            missed=tf.reduce_sum(w * y * (1 - p)),
            count=tf.reduce_sum(w),
        )

    def compute(state: OverlapState) -> Tensor:
        return tf.where(state.count > 0, loss(state), tf.zeros_like(state.count))

    return Metric(
        lambda outputs: OverlapState(*[tf.zeros([], tf.float64)] * 4), from_model_output, compute
    )
