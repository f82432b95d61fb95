"""Hinge losses, which are 0 beyond a margin."""

from __future__ import annotations

import tensorflow as tf

from trainlib.core.types import Tensor
from trainlib.losses.inputs import match_shapes


def hinge(y_true: Tensor, y_pred: Tensor) -> Tensor:
    """Compute the hinge loss of scores of two classes, as in a support vector machine.

        max(1 - y_true y_pred, 0)

    averaged over the last axis.

    Args:
        y_true: -1 or 1, of shape [batch, ..., d]; 0 counts as -1.
        y_pred: scores of that shape.

    Returns:
        The loss of each example, shape [batch, ...].

    Raises:
        ValueError, TypeError: shapes or dtypes do not match.

    Example:
        >>> tl.losses.hinge([[1.0, -1.0]], [[0.5, -2.0]]).numpy()
        array([0.25], dtype=float32)

    Differences:
        Keras: a label of 0 counts as -1 only if every label of the batch is 0 or 1.
        Optax: `hinge_loss` accepts only -1 and 1, and takes no mean.

    References:
        Cortes and Vapnik 1995, "Support-Vector Networks".
    """
    return tf.reduce_mean(_beyond_margin(y_true, y_pred), axis=-1)


def squared_hinge(y_true: Tensor, y_pred: Tensor) -> Tensor:
    """Compute the squared hinge loss, smooth at the margin and stricter far from it.

        max(1 - y_true y_pred, 0)^2

    averaged over the last axis.

    Args:
        y_true: -1 or 1, of shape [batch, ..., d]; 0 counts as -1.
        y_pred: scores of that shape.

    Returns:
        The loss of each example, shape [batch, ...].

    Raises:
        ValueError, TypeError: shapes or dtypes do not match.

    Example:
        >>> tl.losses.squared_hinge([[1.0, -1.0]], [[0.5, -2.0]]).numpy()
        array([0.125], dtype=float32)

    Differences:
        Keras: a label of 0 counts as -1 only if every label of the batch is 0 or 1.

    References:
        Lee and Mangasarian 2001, "SSVM: A Smooth Support Vector Machine for Classification".
    """
    return tf.reduce_mean(tf.square(_beyond_margin(y_true, y_pred)), axis=-1)


def categorical_hinge(y_true: Tensor, y_pred: Tensor) -> Tensor:
    """Compute the hinge loss of scores of several classes.

        max(1 + max((1 - y) p) - sum y p, 0)          y: y_true, p: y_pred

    over the last axis: the score of the true class should exceed each of the others by 1.

    Args:
        y_true: one-hot rows of shape [batch, ..., K].
        y_pred: scores of that shape. If all scores of the other classes are negative, the 0 that
            the true class has in (1 - y) p is the maximum.

    Returns:
        The loss of each example, shape [batch, ...].

    Raises:
        ValueError, TypeError: shapes or dtypes do not match.

    Example:
        >>> tl.losses.categorical_hinge([[0.0, 1.0]], [[0.5, 1.0]]).numpy()
        array([0.5], dtype=float32)

    Differences:
        PyTorch, Optax: the true class is not in the maximum.
        PyTorch: the other classes are summed instead of taking their maximum.

    References:
        Crammer and Singer 2001, "On the Algorithmic Implementation of Multiclass Kernel-based
        Vector Machines".
    """
    y, p = match_shapes(y_true, y_pred)
    true = tf.reduce_sum(y * p, axis=-1)
    other = tf.reduce_max((1 - y) * p, axis=-1)
    return tf.maximum(other - true + 1, 0)


def _beyond_margin(y_true: Tensor, y_pred: Tensor) -> Tensor:
    """Return max(1 - y p, 0) of each element."""
    y, p = match_shapes(y_true, y_pred)
    y = tf.where(tf.equal(y, 0), -tf.ones_like(y), y)
    return tf.maximum(1 - y * p, 0)
