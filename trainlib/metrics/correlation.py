"""Correlations and the cosine similarity of predictions and targets."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from trainlib.core.checks import check_integer
from trainlib.core.types import Tensor
from trainlib.losses import cosine_similarity as cosine_loss
from trainlib.metrics.base import Mean, Metric
from trainlib.metrics.inputs import (
    flatten_examples,
    match_targets,
    num_columns,
    weights_like,
    zero_where_excluded,
)

EPSILON = 1e-7
"""Added to the denominator of the concordance correlation, as in Keras."""
ROUNDING = 1e-13
"""A difference of two sums below this fraction of them is a rounding error of 0."""


class CorrelationState(NamedTuple):
    """State of a correlation over the examples: sums for D outputs, y_true y and y_pred p.

    Attributes:
        count: sum w, float64 [D].
        y: sum w y, float64 [D].
        p: sum w p, float64 [D].
        yy: sum w y^2, float64 [D].
        pp: sum w p^2, float64 [D].
        yp: sum w y p, float64 [D].
    """

    count: Tensor
    y: Tensor
    p: Tensor
    yy: Tensor
    pp: Tensor
    yp: Tensor


class _Moments(NamedTuple):
    """Means, variances and covariance of y and p."""

    mean_y: Tensor
    mean_p: Tensor
    var_y: Tensor
    var_p: Tensor
    covariance: Tensor


def pearson_correlation(axis: int = -1) -> Metric:
    """Compute the Pearson correlation of y_true and y_pred, from -1 to 1.

        r = cov(y, p) / sqrt(var y var p)

    It is 0 where y or p does not vary.

    Args:
        axis: -1, the correlation of the outputs of each example, averaged over the examples; or 0,
            the correlation over all examples of each output, averaged over the outputs. Default:
            -1.

    Returns:
        A `Metric` with state `Mean` for axis -1, `CorrelationState` for axis 0.

    Raises:
        ValueError, TypeError: another axis.

    Example:
        >>> metric = tl.metrics.pearson_correlation(axis=0)
        >>> state = metric.from_model_output([1.0, 2.0, 3.0], [1.0, 3.0, 2.0])
        >>> print(f"{float(metric.compute(state)):.3f}")
        0.500

    Differences:
        Keras: NaN where y or p does not vary; with axis 0 the correlations of batches are averaged.

    References:
        Pearson 1895, "Notes on Regression and Inheritance in the Case of Two Parents".
    """

    def correlation(m: _Moments) -> Tensor:
        return tf.math.divide_no_nan(m.covariance, tf.sqrt(m.var_y) * tf.sqrt(m.var_p))

    return _correlation("pearson_correlation", axis, correlation)


def concordance_correlation(axis: int = -1) -> Metric:
    """Compute the concordance correlation, 1 where y_pred equals y_true.

        2 cov(y, p) / (var y + var p + (mean y - mean p)^2 + 1e-7)

    Args:
        axis: as in `pearson_correlation`. Default: -1.

    Returns:
        A `Metric` with state `Mean` for axis -1, `CorrelationState` for axis 0.

    Raises:
        ValueError, TypeError: another axis.

    Example:
        >>> metric = tl.metrics.concordance_correlation(axis=0)
        >>> state = metric.from_model_output([1.0, 2.0, 3.0], [2.0, 3.0, 4.0])
        >>> print(f"{float(metric.compute(state)):.3f}")
        0.571

    Differences:
        Keras: with axis 0 the correlations of batches are averaged.

    References:
        Lin 1989, "A Concordance Correlation Coefficient to Evaluate Reproducibility".
    """

    def correlation(m: _Moments) -> Tensor:
        distance = tf.square(m.mean_y - m.mean_p)
        return 2 * m.covariance / (m.var_y + m.var_p + distance + EPSILON)

    return _correlation("concordance_correlation", axis, correlation)


def _correlation(name: str, axis: int, correlation: Callable[[_Moments], Tensor]) -> Metric:
    """Return the metric of a function of the moments along an axis, -1 or 0."""
    check_integer("axis", axis, at_least=-1, at_most=0)
    return _over_examples(correlation) if axis == 0 else _over_outputs(name, correlation)


def _over_outputs(name: str, correlation: Callable[[_Moments], Tensor]) -> Metric:
    """Return the mean over the examples of the correlation of their outputs."""

    def from_model_output(
        y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None
    ) -> Mean:
        y, p = match_targets(y_true, y_pred, tf.float64)
        if num_columns(p) == 1:
            raise ValueError(
                f"{name} over the outputs of an example needs two or more, got one: give axis=0 "
                "for the correlation over the examples"
            )
        mean_y, mean_p = (tf.reduce_mean(x, axis=-1) for x in (y, p))
        dy, dp = y - mean_y[..., tf.newaxis], p - mean_p[..., tf.newaxis]
        products = (y * y, p * p, dy * dy, dp * dp, dy * dp)
        yy, pp, dy_dy, dp_dp, covariance = (tf.reduce_mean(x, axis=-1) for x in products)
        # Where nothing varies, dy and dp are the rounding errors of differences, here squared.
        var_y, var_p = _variance(dy_dy, yy, ROUNDING**2), _variance(dp_dp, pp, ROUNDING**2)
        moments = _Moments(mean_y, mean_p, var_y, var_p, covariance)
        return Mean.from_model_output(correlation(moments), sample_weight)

    return Metric(lambda outputs: Mean.empty(), from_model_output, Mean.compute)


def _over_examples(correlation: Callable[[_Moments], Tensor]) -> Metric:
    """Return the mean over the outputs of the correlation over the examples."""

    def from_model_output(
        y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None
    ) -> CorrelationState:
        y, p = match_targets(y_true, y_pred, tf.float64)
        y, p, w = (flatten_examples(x) for x in (y, p, weights_like(sample_weight, y)))
        y, p = zero_where_excluded(w, y, p)
        sums = (w, w * y, w * p, w * y * y, w * p * p, w * y * p)
        return CorrelationState(*(tf.reduce_sum(x, axis=0) for x in sums))

    def compute(state: CorrelationState) -> Tensor:
        y, p, yy, pp, yp = (tf.math.divide_no_nan(x, state.count) for x in state[1:])
        var_y, var_p = (_variance(xx - x * x, xx, ROUNDING) for xx, x in ((yy, y), (pp, p)))
        moments = _Moments(y, p, var_y, var_p, yp - y * p)
        return tf.reduce_mean(correlation(moments))

    return Metric(
        lambda outputs: CorrelationState(*[tf.zeros([outputs], tf.float64)] * 6),
        from_model_output,
        compute,
    )


def _variance(variance: Tensor, mean_square: Tensor, rounding: float) -> Tensor:
    """Return the variance; 0 where it is a rounding error, a fraction of the mean square."""
    return tf.where(variance <= rounding * mean_square, tf.zeros_like(variance), variance)


def cosine_similarity(y_true: Tensor, y_pred: Tensor, axis: int = -1) -> Tensor:
    """Compute the cosine similarity, the negative of the loss of that name.

        sum y_true y_pred / (|y_true| |y_pred|)          lengths bounded below by 1e-7

    Args:
        y_true: vectors.
        y_pred: vectors of that shape.
        axis: the axis of the vectors. Default: -1.

    Returns:
        The similarity of each pair, from -1 to 1, of the shape of y_pred without the axis.

    Raises:
        ValueError, TypeError: shapes or dtypes do not match, or the axis is out of range.

    Example:
        >>> tl.metrics.cosine_similarity([[3.0, 4.0]], [[6.0, 8.0]]).numpy().round(3)
        array([1.], dtype=float32)
    """
    return -cosine_loss(y_true, y_pred, axis)
