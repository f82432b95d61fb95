"""Metrics of regression that are not means over examples."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from trainlib.core.checks import check_choice, check_integer
from trainlib.core.types import Tensor
from trainlib.metrics.base import Mean, Metric
from trainlib.metrics.inputs import (
    flatten_examples,
    match_targets,
    weights_like,
    zero_where_excluded,
)

AGGREGATIONS = ("uniform_average", "variance_weighted_average", "none")
COUNTED = ("examples", "targets")
ROUNDING = 1e-13
"""A variance below this fraction of the mean square is a rounding error of 0."""


def root_mean_squared_error() -> Metric:
    """Compute the root of the mean squared error, sqrt(sum w e^2 / sum w), e = y_true - y_pred.

    Returns:
        A `Metric` with state `Mean`.

    Example:
        >>> metric = tl.metrics.root_mean_squared_error()
        >>> state = metric.from_model_output([0.0, 0.0], [1.0, 7.0])
        >>> float(metric.compute(state))
        5.0
    """

    def from_model_output(
        y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None
    ) -> Mean:
        y, p = match_targets(y_true, y_pred, tf.float64)
        squares = tf.square(y - p)
        return Mean.from_model_output(squares, weights_like(sample_weight, squares))

    return Metric(
        lambda outputs: Mean.empty(), from_model_output, lambda state: tf.sqrt(state.compute())
    )


class R2State(NamedTuple):
    """State of `r2_score`: sums over the examples, for D outputs, weights w and targets y.

    Attributes:
        count: sum w, float64 [D].
        total: sum w y, float64 [D].
        squares: sum w y^2, float64 [D].
        residual: sum w (y - p)^2, float64 [D].
        targets: number of targets whose weight is not 0, float64 [D].
    """

    count: Tensor
    total: Tensor
    squares: Tensor
    residual: Tensor
    targets: Tensor


def r2_score(
    class_aggregation: str = "uniform_average",
    num_regressors: int = 0,
    counted: str = "examples",
) -> Metric:
    """Compute the coefficient of determination of each output.

        R^2 = 1 - sum w (y - p)^2 / S,    S = sum w (y - mean y)^2

    and adjusted, 1 - (1 - R^2) (n - 1) / (n - num_regressors - 1), for n examples.

    An output whose targets are all equal has R^2 = 1 if they are predicted exactly, else 0. No
    adjustment is made if n <= num_regressors + 1. S is computed from sums, sum w y^2 - (sum w y)^2
    / sum w: targets that vary by less than 3e-7 of their size count as equal.

    Args:
        class_aggregation: "uniform_average", the mean over the outputs;
            "variance_weighted_average", the mean weighted by S; "none", a value for each output.
            Default: "uniform_average".
        num_regressors: number of predictors for the adjustment, at least 0; 0 for none. Default: 0.
        counted: what n counts: "examples", the sum of their weights; or "targets", the numbers of
            all outputs, each with a weight that is not 0 as one. Default: "examples".

    Returns:
        A `Metric` with state `R2State`.

    Raises:
        ValueError, TypeError: an argument is out of range or of the wrong type.

    Example:
        >>> metric = tl.metrics.r2_score()
        >>> state = metric.from_model_output([1.0, 2.0, 3.0], [1.5, 2.0, 2.5])
        >>> float(metric.compute(state))
        0.75

    Differences:
        Keras: "none" is None. Up to 3.15, n counts targets, those of weight 0 too, and equal
            targets that are predicted exactly give NaN; later versions are as here.
    """
    check_choice("class_aggregation", class_aggregation, AGGREGATIONS)
    check_integer("num_regressors", num_regressors, at_least=0)
    check_choice("counted", counted, COUNTED)

    def empty(outputs: int) -> R2State:
        return R2State(*[tf.zeros([outputs], tf.float64)] * 5)

    def from_model_output(
        y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None
    ) -> R2State:
        y, p = match_targets(y_true, y_pred, tf.float64)
        y, p, w = (flatten_examples(x) for x in (y, p, weights_like(sample_weight, y)))
        y, p = zero_where_excluded(w, y, p)
        sums = (w, w * y, w * tf.square(y), w * tf.square(y - p), tf.cast(w != 0, tf.float64))
        return R2State(*(tf.reduce_sum(x, axis=0) for x in sums))

    def compute(state: R2State) -> Tensor:
        s = _spread(state)
        score = _r2_of_outputs(state, s)
        if class_aggregation == "uniform_average":
            score = tf.reduce_mean(score)
        elif class_aggregation == "variance_weighted_average":
            # Equal targets have weight 0; if all are equal, so are the weights.
            weights = tf.where(tf.reduce_any(s > 0), s, tf.ones_like(s))
            score = tf.math.divide_no_nan(tf.reduce_sum(weights * score), tf.reduce_sum(weights))
        if not num_regressors:
            return score
        by_target = counted == "targets"
        n = tf.reduce_sum(state.targets) if by_target else tf.reduce_mean(state.count)
        free = num_regressors + 1
        adjusted = 1 - tf.math.divide_no_nan((1 - score) * (n - 1), n - free)
        return tf.where(n > free, adjusted, score)

    return Metric(empty, from_model_output, compute)


def _spread(state: R2State) -> Tensor:
    """Return S of each output; 0 where the targets are equal to rounding."""
    squares = state.squares
    s = squares - tf.math.divide_no_nan(tf.square(state.total), state.count)
    return tf.where(s > ROUNDING * squares, s, tf.zeros_like(s))


def _r2_of_outputs(state: R2State, s: Tensor) -> Tensor:
    """Return R^2 of each output; 1 without errors, 0 without a spread or without examples."""
    zeros, ones = tf.zeros_like(s), tf.ones_like(s)
    score = tf.where(s > 0, 1 - tf.math.divide_no_nan(state.residual, s), zeros)
    exact = (state.residual == 0) & (state.count > 0)
    return tf.where(exact, ones, score)
