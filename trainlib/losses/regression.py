"""Losses of numbers: how far a prediction is from its target."""

from __future__ import annotations

import math

import tensorflow as tf

from trainlib.core.checks import check_number
from trainlib.core.types import Tensor
from trainlib.losses.inputs import EPSILON, match_shapes


def mean_squared_error(y_true: Tensor, y_pred: Tensor) -> Tensor:
    """The mean over the last axis of (y_true - y_pred)^2.

    For targets with noise of one size everywhere; its minimum is the mean of the targets.

    Args:
        y_true: numbers of shape [batch, ..., d].
        y_pred: predictions of that shape.

    Raises:
        ValueError, TypeError: shapes or dtypes that do not go together.

    Differs from: optax.l2_loss, which is half of it. optax.squared_error and torch.mse_loss take
    no mean over the last axis.

    Reference: Gauss 1809, "Theoria Motus Corporum Coelestium".
    """
    y_true, y_pred = match_shapes(y_true, y_pred)
    return tf.reduce_mean(tf.square(y_true - y_pred), axis=-1)


def mean_absolute_error(y_true: Tensor, y_pred: Tensor) -> Tensor:
    """The mean over the last axis of |y_true - y_pred|.

    For targets with outliers; its minimum is the median of the targets. The gradient at 0 is 0.

    Args:
        y_true: numbers of shape [batch, ..., d].
        y_pred: predictions of that shape.

    Raises:
        ValueError, TypeError: shapes or dtypes that do not go together.

    Differs from: torch.l1_loss, which takes no mean over the last axis.

    Reference: Laplace 1774, "Memoire sur la probabilite des causes par les evenements".
    """
    y_true, y_pred = match_shapes(y_true, y_pred)
    return tf.reduce_mean(tf.abs(y_true - y_pred), axis=-1)


def mean_absolute_percentage_error(y_true: Tensor, y_pred: Tensor) -> Tensor:
    """The mean over the last axis of 100 |y_true - y_pred| / max(|y_true|, 1e-7).

    For positive targets of many sizes, where the relative error counts.

    Args:
        y_true: numbers of shape [batch, ..., d]; one of 0 makes the loss very large.
        y_pred: predictions of that shape.

    Raises:
        ValueError, TypeError: shapes or dtypes that do not go together.

    Differs from: nobody; torch and optax do not have it.

    Reference: Makridakis 1993, "Accuracy measures: theoretical and practical concerns".
    """
    y_true, y_pred = match_shapes(y_true, y_pred)
    relative = tf.abs(y_true - y_pred) / tf.maximum(tf.abs(y_true), EPSILON)
    return 100 * tf.reduce_mean(relative, axis=-1)


def mean_squared_logarithmic_error(y_true: Tensor, y_pred: Tensor) -> Tensor:
    """The mean over the last axis of (log(1 + y_true) - log(1 + y_pred))^2.

    For counts and prices of many sizes. Either is at least 1e-7: where y_pred is below, its
    gradient is 0.

    Args:
        y_true: numbers of shape [batch, ..., d], at least 0.
        y_pred: predictions of that shape.

    Raises:
        ValueError, TypeError: shapes or dtypes that do not go together.

    Differs from: Keras by rounding alone: log(1 + y) is exact here for small y.

    Reference: Tofallis 2015, "A better measure of relative prediction accuracy for model
    selection and model estimation".
    """
    y_true, y_pred = match_shapes(y_true, y_pred)
    first = tf.math.log1p(tf.maximum(y_pred, EPSILON))
    second = tf.math.log1p(tf.maximum(y_true, EPSILON))
    return tf.reduce_mean(tf.math.squared_difference(first, second), axis=-1)


def huber(y_true: Tensor, y_pred: Tensor, delta: float = 1.0) -> Tensor:
    """With e = |y_true - y_pred|, the mean over the last axis of

        e^2 / 2                  where e <= delta
        delta e - delta^2 / 2    elsewhere

    For targets with outliers, where the mean is wanted of the others.

    Args:
        y_true: numbers of shape [batch, ..., d].
        y_pred: predictions of that shape.
        delta: where the parabola turns into a line; above 0.

    Raises:
        ValueError, TypeError: shapes or dtypes that do not go together; a delta out of its range.

    Differs from: torch's SmoothL1Loss(beta), which is huber(delta=beta) / beta. torch.huber_loss
    and optax.huber_loss take no mean over the last axis.

    Reference: Huber 1964, "Robust Estimation of a Location Parameter".
    """
    check_number("delta", delta, above=0)
    y_true, y_pred = match_shapes(y_true, y_pred)
    e = tf.abs(y_true - y_pred)
    loss = tf.where(e <= delta, tf.square(e) / 2, delta * e - delta * delta / 2)
    return tf.reduce_mean(loss, axis=-1)


def log_cosh(y_true: Tensor, y_pred: Tensor) -> Tensor:
    """With e = y_pred - y_true, the mean over the last axis of

        log cosh e = e + log(1 + exp(-2 e)) - log 2

    Like e^2 / 2 for small errors and |e| - log 2 for large ones: a Huber loss without an edge.

    Args:
        y_true: numbers of shape [batch, ..., d].
        y_pred: predictions of that shape.

    Raises:
        ValueError, TypeError: shapes or dtypes that do not go together.

    Differs from: Keras, whose log 2 has the precision of float32 in float64 too, which makes its
    losses 2e-9 smaller. optax.log_cosh takes no mean over the last axis.

    Reference: Chen, Chen, Zhang and Zhang 2019, "Log Hyperbolic Cosine Loss Improves Variational
    Auto-Encoder".
    """
    y_true, y_pred = match_shapes(y_true, y_pred)
    e = y_pred - y_true
    return tf.reduce_mean(e + tf.math.softplus(-2 * e) - math.log(2), axis=-1)


def poisson(y_true: Tensor, y_pred: Tensor) -> Tensor:
    """The mean over the last axis of y_pred - y_true log(y_pred + 1e-7).

    For counts: the negative log-likelihood of a Poisson distribution with the mean y_pred, but
    for log(y_true!), which does not depend on the model.

    Args:
        y_true: counts of shape [batch, ..., d].
        y_pred: predicted means of that shape, at least 0; the logarithm of a negative one is NaN.

    Raises:
        ValueError, TypeError: shapes or dtypes that do not go together.

    Differs from: torch.poisson_nll_loss, which by default takes log y_pred, and has an eps of
    1e-8; it takes no mean over the last axis.

    Reference: Nelder and Wedderburn 1972, "Generalized Linear Models".
    """
    y_true, y_pred = match_shapes(y_true, y_pred)
    return tf.reduce_mean(y_pred - y_true * tf.math.log(y_pred + EPSILON), axis=-1)
