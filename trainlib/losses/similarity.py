"""Losses of directions: cosine similarity, and the circle loss of embeddings."""

from __future__ import annotations

import tensorflow as tf

from trainlib.core.checks import check_number
from trainlib.core.types import Tensor
from trainlib.losses.inputs import EPSILON, check_axis, match_shapes, predictions
from trainlib.losses.masked import Masked


def cosine_similarity(y_true: Tensor, y_pred: Tensor, axis: int = -1) -> Tensor:
    """Compute the negative cosine similarity, for targets whose direction alone matters.

        -sum y_true y_pred / (|y_true| |y_pred|)          lengths bounded below by 1e-7

    -1 is best, 0 is orthogonal. A zero vector gives 0, with the gradient of a division by 1e-7.

    Args:
        y_true: vectors.
        y_pred: vectors of that shape.
        axis: the axis of the vectors. Default: -1.

    Returns:
        The loss of each vector, of the shape of y_pred without the axis.

    Raises:
        ValueError, TypeError: shapes or dtypes do not match, or the axis is out of range.

    Example:
        >>> tl.losses.cosine_similarity([[3.0, 4.0]], [[6.0, 8.0]]).numpy().round(3)
        array([-1.], dtype=float32)

    Differences:
        PyTorch, Optax: the sign is reversed.
        PyTorch: the product of the lengths is bounded below by 1e-8.
        Optax: the lengths have no lower bound.

    References:
        Salton, Wong and Yang 1975, "A Vector Space Model for Automatic Indexing".
    """
    y_true, y_pred = match_shapes(y_true, y_pred)
    check_axis(axis, y_pred)
    return -tf.reduce_sum(_unit(y_true, axis) * _unit(y_pred, axis), axis=axis)


def circle(
    y_true: Tensor,
    y_pred: Tensor,
    ref_labels: Tensor | None = None,
    ref_embeddings: Tensor | None = None,
    remove_diagonal: bool = True,
    gamma: float = 80.0,
    margin: float = 0.4,
) -> Masked:
    """Compute the circle loss of unit vectors, for embeddings that retrieve examples of one class.

        d    = max(1 - cosine, 0) of each pair
        p    = log sum exp(gamma (margin + d) (d - margin))                pairs of the same label
        n    = log sum exp(gamma max(1 + margin - d, 0) (1 - margin - d))  pairs of different labels
        loss = log(1 + exp(p + n))

    A loss of 0, of an example without a pair of either kind, does not count in a mean.

    Args:
        y_true: class indices of shape [batch] or [batch, 1].
        y_pred: embeddings of length 1, shape [batch, d].
        ref_labels: class indices of the reference embeddings. Default: None, y_true.
        ref_embeddings: embeddings of length 1 to pair with, shape [n, d]. Default: None, y_pred.
        remove_diagonal: whether example i and reference i, usually the same, are not a positive
            pair. Default: True.
        gamma: the scale, above 0. Default: 80.
        margin: in [0, 1]; cosines of positive pairs should be above 1 - margin, of negative ones
            below margin. Default: 0.4.

    Returns:
        The `Masked` loss of each example, shape [batch].

    Raises:
        ValueError, TypeError: shapes or dtypes do not match, or an option is out of range.

    Example:
        >>> embeddings = tf.math.l2_normalize([[1.0, 0.0], [1.0, 0.2], [0.0, 1.0]], axis=1)
        >>> loss = tl.losses.circle([0, 0, 1], embeddings, gamma=2.0)
        >>> loss.values.numpy().round(3), loss.mask.numpy()
        (array([0.424, 0.451, 0.   ], dtype=float32), array([ True,  True, False]))

    Differences:
        Paper: the authors' code takes no gradient through the factors (margin + d) and (1 + margin
            - d).

    References:
        Sun et al. 2020, "Circle Loss: A Unified Perspective of Pair Similarity Optimization".
    """
    check_number("gamma", gamma, above=0)
    check_number("margin", margin, at_least=0, at_most=1)
    y_pred = predictions(y_pred)
    others = y_pred if ref_embeddings is None else tf.cast(ref_embeddings, y_pred.dtype)
    if y_pred.shape.rank != 2 or others.shape.rank != 2:
        raise ValueError(
            f"embeddings must have shape [batch, d], got {list(y_pred.shape)} and "
            f"{list(others.shape)}"
        )
    labels = _labels("y_true", y_true, y_pred)
    other_labels = labels if ref_labels is None else _labels("ref_labels", ref_labels, others)
    if not other_labels.shape.is_compatible_with(others.shape[:1]):
        raise ValueError("ref_embeddings need ref_labels, one each")
    same = labels[:, tf.newaxis] == other_labels[tf.newaxis, :]
    itself = tf.eye(tf.shape(y_pred)[0], tf.shape(others)[0], dtype=tf.float32) > 0
    positive = same & ~itself if remove_diagonal else same

    d = tf.maximum(1 - tf.matmul(y_pred, others, transpose_b=True), 0)
    p = _log_sum_exp(gamma * (margin + d) * (d - margin), positive)
    n = _log_sum_exp(gamma * tf.maximum(1 + margin - d, 0) * (1 - margin - d), ~same)
    loss = tf.math.softplus(p + n)
    return Masked.where(loss > 0, loss)


def _labels(name: str, labels: Tensor, embeddings: Tensor) -> Tensor:
    """Return labels of shape [n], one for each embedding."""
    labels = tf.convert_to_tensor(labels)
    if labels.shape.rank == 2 and labels.shape[-1] == 1:
        labels = labels[:, 0]
    if not labels.shape.is_compatible_with(embeddings.shape[:1]):
        raise ValueError(
            f"{name} must have shape {list(embeddings.shape[:1])} for embeddings of "
            f"{list(embeddings.shape)}, got {list(labels.shape)}"
        )
    return tf.cast(labels, tf.int64)


def _log_sum_exp(x: Tensor, mask: Tensor) -> Tensor:
    """Return log sum exp x over the masked entries of the last axis; the lowest number if none."""
    return tf.reduce_logsumexp(tf.where(mask, x, tf.fill(tf.shape(x), x.dtype.min)), axis=-1)


def _unit(x: Tensor, axis: int) -> Tensor:
    """Return x / max(|x|, 1e-7)."""
    square = tf.reduce_sum(tf.square(x), axis=axis, keepdims=True)
    return x * tf.math.rsqrt(tf.maximum(square, EPSILON**2))
