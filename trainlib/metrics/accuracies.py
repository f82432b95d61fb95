"""Accuracies: per-example functions `(y_true, y_pred) -> 1 or 0`."""

from __future__ import annotations

import tensorflow as tf

from trainlib.core.checks import check_integer, check_number
from trainlib.core.types import Tensor
from trainlib.metrics.inputs import INDICES, ROWS, class_indices, match_labels


def accuracy(y_true: Tensor, y_pred: Tensor) -> Tensor:
    """Return 1 where the largest score is that of the true class, else 0.

    Args:
        y_true: class indices of shape [batch, ...] or [batch, ..., 1], or one-hot rows of shape
            [batch, ..., K].
        y_pred: scores, logits or probabilities of shape [batch, ..., K] with K at least 2.

    Returns:
        float32, shape [batch, ...].

    Raises:
        ValueError: the shapes do not match, or K is 1.

    Example:
        >>> tl.metrics.accuracy([1, 0], [[0.2, 0.8], [0.4, 0.6]]).numpy()
        array([1., 0.], dtype=float32)
    """
    classes, y_pred = class_indices("accuracy", y_true, y_pred)
    return _is_largest(classes, y_pred)


def categorical_accuracy(y_true: Tensor, y_pred: Tensor) -> Tensor:
    """Return 1 where the largest score is that of the true class; accept only one-hot rows.

    Args:
        y_true: one-hot rows of shape [batch, ..., K].
        y_pred: scores of shape [batch, ..., K] with K at least 2.

    Returns:
        float32, shape [batch, ...].

    Raises:
        ValueError: the shapes do not match, or K is 1.

    Example:
        >>> tl.metrics.categorical_accuracy([[0, 1], [1, 0]], [[0.2, 0.8], [0.4, 0.6]]).numpy()
        array([1., 0.], dtype=float32)
    """
    return _is_largest(*class_indices("categorical_accuracy", y_true, y_pred, ROWS))


def sparse_categorical_accuracy(y_true: Tensor, y_pred: Tensor) -> Tensor:
    """Return 1 where the largest score is that of the true class; accept only class indices.

    Args:
        y_true: class indices of shape [batch, ...] or [batch, ..., 1].
        y_pred: scores of shape [batch, ..., K] with K at least 2.

    Returns:
        float32, shape [batch, ...].

    Raises:
        ValueError: the shapes do not match, or K is 1.

    Example:
        >>> tl.metrics.sparse_categorical_accuracy([1, 0], [[0.2, 0.8], [0.4, 0.6]]).numpy()
        array([1., 0.], dtype=float32)
    """
    return _is_largest(*class_indices("sparse_categorical_accuracy", y_true, y_pred, INDICES))


def top_k_categorical_accuracy(y_true: Tensor, y_pred: Tensor, k: int = 5) -> Tensor:
    """Return 1 where fewer than k scores exceed that of the true class, else 0.

    Equal scores share a rank, so that more than k classes may be among the first k. The result is 0
    if a score of the example is not finite.

    Args:
        y_true: one-hot rows of shape [batch, ..., K].
        y_pred: scores of shape [batch, ..., K] with K at least 2.
        k: number of accepted ranks, at least 1. Default: 5.

    Returns:
        float32, shape [batch, ...].

    Raises:
        ValueError, TypeError: the shapes do not match, K is 1, or k is out of range.

    Example:
        >>> y_true, y_pred = [[1, 0, 0], [1, 0, 0]], [[0.3, 0.5, 0.2], [0.1, 0.5, 0.4]]
        >>> tl.metrics.top_k_categorical_accuracy(y_true, y_pred, k=2).numpy()
        array([1., 0.], dtype=float32)

    Differences:
        Keras: float64 scores are rejected.
    """
    return _in_top_k(*class_indices("top_k_categorical_accuracy", y_true, y_pred, ROWS), k)


def sparse_top_k_categorical_accuracy(y_true: Tensor, y_pred: Tensor, k: int = 5) -> Tensor:
    """Return 1 where fewer than k scores exceed that of the true class, given by its index.

    Args:
        y_true: class indices of shape [batch, ...] or [batch, ..., 1]; an index outside 0..K-1 is
            never among the first k.
        y_pred: scores of shape [batch, ..., K] with K at least 2.
        k: number of accepted ranks, at least 1. Default: 5.

    Returns:
        float32, shape [batch, ...].

    Raises:
        ValueError, TypeError: the shapes do not match, K is 1, or k is out of range.

    Example:
        >>> y_true, y_pred = [0, 0], [[0.3, 0.5, 0.2], [0.1, 0.5, 0.4]]
        >>> tl.metrics.sparse_top_k_categorical_accuracy(y_true, y_pred, k=2).numpy()
        array([1., 0.], dtype=float32)
    """
    name = "sparse_top_k_categorical_accuracy"
    return _in_top_k(*class_indices(name, y_true, y_pred, INDICES), k)


def binary_accuracy(y_true: Tensor, y_pred: Tensor, threshold: float = 0.5) -> Tensor:
    """Return 1 where a score is above the threshold exactly if its label is 1, else 0.

    Args:
        y_true: 0 or 1, of the shape of y_pred; or class indices with y_pred of [batch, ..., K].
        y_pred: scores of shape [batch], [batch, 1] or [batch, ..., K].
        threshold: finite; probabilities need one in [0, 1]. Default: 0.5.

    Returns:
        float32, of the shape of y_pred.

    Raises:
        ValueError, TypeError: the shapes do not match, or the threshold is not finite.

    Example:
        >>> tl.metrics.binary_accuracy([1, 0, 1], [0.9, 0.2, 0.4]).numpy()
        array([1., 1., 0.], dtype=float32)
    """
    check_number("threshold", threshold)
    y, p = match_labels(y_true, y_pred)
    correct = tf.cast(tf.cast(p > threshold, y.dtype) == y, tf.float32)
    return tf.reshape(correct, tf.shape(y_pred))


def _is_largest(classes: Tensor, y_pred: Tensor) -> Tensor:
    """Return 1 where the largest score is that of the class, else 0."""
    return tf.cast(classes == tf.argmax(y_pred, axis=-1), tf.float32)


def _in_top_k(classes: Tensor, y_pred: Tensor, k: int) -> Tensor:
    """Return 1 where fewer than k scores exceed that of the class, else 0."""
    check_integer("k", k, at_least=1)
    of_class = tf.one_hot(classes, tf.shape(y_pred)[-1], True, False, dtype=tf.bool)
    score = tf.reduce_max(tf.where(of_class, y_pred, y_pred.dtype.min), axis=-1, keepdims=True)
    above = tf.math.count_nonzero(y_pred > score, axis=-1)
    valid = tf.reduce_all(tf.math.is_finite(y_pred), axis=-1) & tf.reduce_any(of_class, axis=-1)
    return tf.cast((above < k) & valid, tf.float32)
