"""Accuracies: pure functions `(y_true, y_pred) -> 1 or 0 for each example`."""

from __future__ import annotations

import tensorflow as tf

from trainlib.core.checks import check_integer, check_number
from trainlib.core.types import Tensor
from trainlib.metrics.inputs import INDICES, ROWS, class_indices, match_labels


def accuracy(y_true: Tensor, y_pred: Tensor) -> Tensor:
    """1 where the largest of y_pred stands at the true class, else 0.

    Args:
        y_true: class indices of shape [batch, ...] or [batch, ..., 1], or one-hot rows of shape
            [batch, ..., K].
        y_pred: scores, logits or probabilities, of shape [batch, ..., K] with K of at least 2.

    Returns:
        float32, shape [batch, ...].

    Raises:
        ValueError: shapes that do not go together, or a K of 1.
    """
    classes, y_pred = class_indices("accuracy", y_true, y_pred)
    return _is_largest(classes, y_pred)


def categorical_accuracy(y_true: Tensor, y_pred: Tensor) -> Tensor:
    """`accuracy` of one-hot rows alone.

    Args:
        y_true: one-hot rows of shape [batch, ..., K].
        y_pred: scores of shape [batch, ..., K] with K of at least 2.
    """
    return _is_largest(*class_indices("categorical_accuracy", y_true, y_pred, ROWS))


def sparse_categorical_accuracy(y_true: Tensor, y_pred: Tensor) -> Tensor:
    """`accuracy` of class indices alone.

    Args:
        y_true: class indices of shape [batch, ...] or [batch, ..., 1].
        y_pred: scores of shape [batch, ..., K] with K of at least 2.
    """
    return _is_largest(*class_indices("sparse_categorical_accuracy", y_true, y_pred, INDICES))


def top_k_categorical_accuracy(y_true: Tensor, y_pred: Tensor, k: int = 5) -> Tensor:
    """1 where fewer than k scores are above that of the true class, else 0.

    Equal scores share a place, so that more than k classes may be among the first k. It is 0
    where a score of the example is not finite.

    Args:
        y_true: one-hot rows of shape [batch, ..., K].
        y_pred: scores of shape [batch, ..., K] with K of at least 2.
        k: at least 1.

    Differs from: Keras, which refuses float64 scores.
    """
    return _in_top_k(*class_indices("top_k_categorical_accuracy", y_true, y_pred, ROWS), k)


def sparse_top_k_categorical_accuracy(y_true: Tensor, y_pred: Tensor, k: int = 5) -> Tensor:
    """`top_k_categorical_accuracy` of class indices.

    Args:
        y_true: class indices of shape [batch, ...] or [batch, ..., 1]; one outside 0..K-1 is
            among no first k.
        y_pred: scores of shape [batch, ..., K] with K of at least 2.
        k: at least 1.
    """
    name = "sparse_top_k_categorical_accuracy"
    return _in_top_k(*class_indices(name, y_true, y_pred, INDICES), k)


def binary_accuracy(y_true: Tensor, y_pred: Tensor, threshold: float = 0.5) -> Tensor:
    """1 where y_pred is above the threshold and y_true 1, or y_pred is not and y_true 0; else 0.

    Args:
        y_true: 0 or 1, in the shape of y_pred; or class indices beside a y_pred of [batch, ..., K].
        y_pred: scores, of shape [batch], [batch, 1] or [batch, ..., K].
        threshold: a finite number; probabilities need one in [0, 1].

    Returns:
        float32, in the shape of y_pred.
    """
    check_number("threshold", threshold)
    y, p = match_labels(y_true, y_pred)
    right = tf.cast(tf.cast(p > threshold, y.dtype) == y, tf.float32)
    return tf.reshape(right, tf.shape(y_pred))


def _is_largest(classes: Tensor, y_pred: Tensor) -> Tensor:
    return tf.cast(classes == tf.argmax(y_pred, axis=-1), tf.float32)


def _in_top_k(classes: Tensor, y_pred: Tensor, k: int) -> Tensor:
    check_integer("k", k, at_least=1)
    of_class = tf.one_hot(classes, tf.shape(y_pred)[-1], True, False, dtype=tf.bool)
    score = tf.reduce_max(tf.where(of_class, y_pred, y_pred.dtype.min), axis=-1, keepdims=True)
    above = tf.math.count_nonzero(y_pred > score, axis=-1)
    sound = tf.reduce_all(tf.math.is_finite(y_pred), axis=-1) & tf.reduce_any(of_class, axis=-1)
    return tf.cast((above < k) & sound, tf.float32)
