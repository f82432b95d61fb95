"""Losses of real-valued targets."""

from __future__ import annotations

import math

import tensorflow as tf

from trainlib.core.checks import check_number
from trainlib.core.types import Tensor
from trainlib.losses.inputs import EPSILON, match_shapes


def mean_squared_error(y_true: Tensor, y_pred: Tensor) -> Tensor:
    """Compute the mean squared error, whose minimum is the mean of the targets.

        (y_true - y_pred)^2

    averaged over the last axis.

    Args:
        y_true: targets of shape [batch, ..., d].
        y_pred: predictions of that shape.

    Returns:
        The loss of each example, shape [batch, ...].

    Raises:
        ValueError, TypeError: shapes or dtypes do not match.

    Example:
        >>> tl.losses.mean_squared_error([[0.0, 0.0]], [[1.0, 2.0]]).numpy()
        array([2.5], dtype=float32)

    Differences:
        PyTorch, Optax: no mean is taken over the last axis.
        Optax: `l2_loss` is half the square.

    References:
        Gauss 1809, "Theoria Motus Corporum Coelestium".
    """
    y_true, y_pred = match_shapes(y_true, y_pred)
    return tf.reduce_mean(tf.square(y_true - y_pred), axis=-1)


def mean_absolute_error(y_true: Tensor, y_pred: Tensor) -> Tensor:
    """Compute the mean absolute error, whose minimum is the median of the targets.

        |y_true - y_pred|

    averaged over the last axis. The gradient at 0 is 0.

    Args:
        y_true: targets of shape [batch, ..., d].
        y_pred: predictions of that shape.

    Returns:
        The loss of each example, shape [batch, ...].

    Raises:
        ValueError, TypeError: shapes or dtypes do not match.

    Example:
        >>> tl.losses.mean_absolute_error([[0.0, 0.0]], [[1.0, 2.0]]).numpy()
        array([1.5], dtype=float32)

    Differences:
        PyTorch: no mean is taken over the last axis.

    References:
        Laplace 1774, "Mémoire sur la probabilité des causes par les événements".
    """
    y_true, y_pred = match_shapes(y_true, y_pred)
    return tf.reduce_mean(tf.abs(y_true - y_pred), axis=-1)


def mean_absolute_percentage_error(y_true: Tensor, y_pred: Tensor) -> Tensor:
    """Compute the mean absolute percentage error, for positive targets of different magnitudes.

        100 |y_true - y_pred| / max(|y_true|, 1e-7)

    averaged over the last axis.

    Args:
        y_true: targets of shape [batch, ..., d]; a target of 0 makes the loss very large.
        y_pred: predictions of that shape.

    Returns:
        The loss of each example, shape [batch, ...].

    Raises:
        ValueError, TypeError: shapes or dtypes do not match.

    Example:
        >>> tl.losses.mean_absolute_percentage_error([[2.0, 4.0]], [[1.0, 5.0]]).numpy()
        array([37.5], dtype=float32)

    References:
        Makridakis 1993, "Accuracy measures: theoretical and practical concerns".
    """
    y_true, y_pred = match_shapes(y_true, y_pred)
    relative = tf.abs(y_true - y_pred) / tf.maximum(tf.abs(y_true), EPSILON)
    return 100 * tf.reduce_mean(relative, axis=-1)


def mean_squared_logarithmic_error(y_true: Tensor, y_pred: Tensor) -> Tensor:
    """Compute the mean squared logarithmic error, for counts and prices of different magnitudes.

        (log(1 + y_true) - log(1 + y_pred))^2

    averaged over the last axis. Both arguments are bounded below by 1e-7; the gradient of y_pred is
    0 there.

    Args:
        y_true: targets of shape [batch, ..., d], at least 0.
        y_pred: predictions of that shape.

    Returns:
        The loss of each example, shape [batch, ...].

    Raises:
        ValueError, TypeError: shapes or dtypes do not match.

    Example:
        >>> tl.losses.mean_squared_logarithmic_error([[0.0, 3.0]], [[1.0, 3.0]]).numpy().round(3)
        array([0.24], dtype=float32)

    Differences:
        Keras: log(1 + y) is rounded for small y; here it is exact.

    References:
        Tofallis 2015, "A better measure of relative prediction accuracy for model selection and
        model estimation".
    """
    y_true, y_pred = match_shapes(y_true, y_pred)
    first = tf.math.log1p(tf.maximum(y_pred, EPSILON))
    second = tf.math.log1p(tf.maximum(y_true, EPSILON))
    return tf.reduce_mean(tf.math.squared_difference(first, second), axis=-1)


def huber(y_true: Tensor, y_pred: Tensor, delta: float = 1.0) -> Tensor:
    """Compute the Huber loss, quadratic for small errors and linear for outliers.

        e^2 / 2                  where e = |y_true - y_pred| <= delta
        delta e - delta^2 / 2    elsewhere

    averaged over the last axis.

    Args:
        y_true: targets of shape [batch, ..., d].
        y_pred: predictions of that shape.
        delta: the error at which the loss becomes linear, above 0. Default: 1.

    Returns:
        The loss of each example, shape [batch, ...].

    Raises:
        ValueError, TypeError: shapes or dtypes do not match, or delta is out of range.

    Example:
        >>> tl.losses.huber([[0.0, 0.0]], [[0.5, 3.0]]).numpy().round(4)
        array([1.3125], dtype=float32)

    Differences:
        PyTorch: `SmoothL1Loss(beta)` is huber(delta=beta) / beta. No mean is taken over the last
            axis.
        Optax: no mean is taken over the last axis.

    References:
        Huber 1964, "Robust Estimation of a Location Parameter".
    """
    check_number("delta", delta, above=0)
    y_true, y_pred = match_shapes(y_true, y_pred)
    e = tf.abs(y_true - y_pred)
    loss = tf.where(e <= delta, tf.square(e) / 2, delta * e - delta * delta / 2)
    return tf.reduce_mean(loss, axis=-1)


def log_cosh(y_true: Tensor, y_pred: Tensor) -> Tensor:
    """Compute the logarithm of the hyperbolic cosine of the error, a smooth Huber loss.

        log cosh e = e + log(1 + exp(-2 e)) - log 2,     e = y_pred - y_true

    averaged over the last axis. It is close to e^2 / 2 for small errors and |e| - log 2 for large
    ones.

    Args:
        y_true: targets of shape [batch, ..., d].
        y_pred: predictions of that shape.

    Returns:
        The loss of each example, shape [batch, ...].

    Raises:
        ValueError, TypeError: shapes or dtypes do not match.

    Example:
        >>> tl.losses.log_cosh([[0.0, 0.0]], [[0.5, 3.0]]).numpy().round(3)
        array([1.215], dtype=float32)

    Differences:
        Keras: log 2 has the precision of float32 in float64 too, so losses are 2e-9 smaller.
        Optax: no mean is taken over the last axis.

    References:
        Chen, Chen, Zhang and Zhang 2019, "Log Hyperbolic Cosine Loss Improves Variational
        Auto-Encoder".
    """
    y_true, y_pred = match_shapes(y_true, y_pred)
    e = y_pred - y_true
    return tf.reduce_mean(e + tf.math.softplus(-2 * e) - math.log(2), axis=-1)


def poisson(y_true: Tensor, y_pred: Tensor) -> Tensor:
    """Compute the negative log-likelihood of counts under a Poisson distribution.

        y_pred - y_true log(y_pred + 1e-7)

    averaged over the last axis, without the term log(y_true!), which does not depend on the model.

    Args:
        y_true: counts of shape [batch, ..., d].
        y_pred: predicted means of that shape, at least 0; a negative one gives NaN.

    Returns:
        The loss of each example, shape [batch, ...].

    Raises:
        ValueError, TypeError: shapes or dtypes do not match.

    Example:
        >>> tl.losses.poisson([[2.0, 1.0]], [[2.0, 1.0]]).numpy().round(3)
        array([0.807], dtype=float32)

    Differences:
        PyTorch: `poisson_nll_loss` takes log y_pred by default and adds 1e-8; no mean is taken over
            the last axis.

    References:
        Nelder and Wedderburn 1972, "Generalized Linear Models".
    """
    y_true, y_pred = match_shapes(y_true, y_pred)
    return tf.reduce_mean(y_pred - y_true * tf.math.log(y_pred + EPSILON), axis=-1)
