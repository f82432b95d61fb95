"""Metrics of regressions that are no means of examples."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from trainlib.core.checks import check_choice, check_integer
from trainlib.core.types import Tensor
from trainlib.metrics.base import Mean, Metric
from trainlib.metrics.inputs import flatten_examples, match_targets, weights_like

AGGREGATIONS = ("uniform_average", "variance_weighted_average", "none")
ROUNDING = 1e-13
"""A variance below this share of the mean square is what rounding leaves of 0."""


def root_mean_squared_error() -> Metric:
    """sqrt(sum w e^2 / sum w) over all the values, e = y_true - y_pred; its record, `Mean`."""

    def from_model_output(
        y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None
    ) -> Mean:
        y, p = match_targets(y_true, y_pred, tf.float64)
        squares = tf.square(y - p)
        return Mean.from_model_output(squares, weights_like(sample_weight, squares))

    return Metric(
        lambda outputs: Mean.empty(), from_model_output, lambda record: tf.sqrt(record.compute())
    )


class R2State(NamedTuple):
    """Sums over the examples, float64 [D] for D outputs, with weights w and targets y.

    count: sum w. total: sum w y. squares: sum w y^2. residual: sum w (y - p)^2. targets: how many
    targets have a weight other than 0.
    """

    count: Tensor
    total: Tensor
    squares: Tensor
    residual: Tensor
    targets: Tensor


def r2_score(class_aggregation: str = "uniform_average", num_regressors: int = 0) -> Metric:
    """The coefficient of determination, for each output

        R^2 = 1 - sum w (y - p)^2 / S,    S = sum w (y - mean y)^2

    and over n targets, adjusted, 1 - (1 - R^2) (n - 1) / (n - num_regressors - 1).

    An output whose targets are all equal has R^2 = 0. Where n <= num_regressors + 1 there is
    nothing to adjust. S is taken from sums, sum w y^2 - (sum w y)^2 / sum w: targets that vary by
    less than 3e-7 of their size count as equal.

    Args:
        class_aggregation: "uniform_average", the mean over the outputs;
            "variance_weighted_average", weighted by S; "none", a value for each output.
        num_regressors: at least 0; 0 adjusts nothing.

    Differs from: Keras, where "none" is None, targets that are all equal and met exactly give NaN,
    and examples of weight 0 count in n. As there, n counts the targets of all the outputs.
    """
    check_choice("class_aggregation", class_aggregation, AGGREGATIONS)
    check_integer("num_regressors", num_regressors, at_least=0)

    def zero(outputs: int) -> R2State:
        return R2State(*[tf.zeros([outputs], tf.float64)] * 5)

    def from_model_output(
        y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None
    ) -> R2State:
        y, p = match_targets(y_true, y_pred, tf.float64)
        y, p, w = (flatten_examples(x) for x in (y, p, weights_like(sample_weight, y)))
        sums = (w, w * y, w * tf.square(y), w * tf.square(y - p), tf.cast(w != 0, tf.float64))
        return R2State(*(tf.reduce_sum(x, axis=0) for x in sums))

    def result(record: R2State) -> Tensor:
        squares = record.squares
        s = squares - tf.math.divide_no_nan(tf.square(record.total), record.count)
        s = tf.where(s > ROUNDING * squares, s, tf.zeros_like(s))
        score = tf.where(s > 0, 1 - tf.math.divide_no_nan(record.residual, s), tf.zeros_like(s))
        if class_aggregation == "uniform_average":
            score = tf.reduce_mean(score)
        elif class_aggregation == "variance_weighted_average":
            score = tf.math.divide_no_nan(tf.reduce_sum(s * score), tf.reduce_sum(s))
        n, free = tf.reduce_sum(record.targets), num_regressors + 1
        adjusted = 1 - tf.math.divide_no_nan((1 - score) * (n - 1), n - free)
        return tf.where(n > free, adjusted, score) if num_regressors else score

    return Metric(zero, from_model_output, result)
