"""Losses of directions: cosine similarity and the circle loss of embeddings."""

from __future__ import annotations

import tensorflow as tf

from trainlib.core.checks import check_number
from trainlib.core.types import Tensor
from trainlib.losses.inputs import EPSILON, check_axis, match_shapes, predictions
from trainlib.losses.masked import Masked


def cosine_similarity(y_true: Tensor, y_pred: Tensor, axis: int = -1) -> Tensor:
    """-sum y_true y_pred / (|y_true| |y_pred|), the lengths being at least 1e-7.

    For targets whose direction counts and whose length does not. -1 is best, 0 is orthogonal; a
    vector of zeros gives 0, and the gradient there is that of the division by 1e-7.

    Args:
        y_true: vectors.
        y_pred: vectors of that shape.
        axis: along which the vectors lie.

    Raises:
        ValueError, TypeError: shapes or dtypes that do not go together; an axis out of range.

    Differs from: optax.cosine_similarity and torch's, which have the other sign. torch bounds the
    product of the lengths, from below, by 1e-8; optax does not bound them.

    Reference: Salton, Wong and Yang 1975, "A Vector Space Model for Automatic Indexing".
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
    """The circle loss of unit vectors, with d = max(1 - cosine, 0) of each pair:

        p    = log sum exp(gamma (margin + d) (d - margin))             pairs of one label
        n    = log sum exp(gamma max(1 + margin - d, 0) (1 - margin - d))  pairs of two labels
        loss = log(1 + exp(p + n))

    For embeddings, by which examples of one class are to be found. A loss of 0, that of an
    example without a pair of either kind, does not count in a mean: the result is `Masked`.

    Args:
        y_true: class indices of shape [batch] or [batch, 1].
        y_pred: embeddings of length 1, shape [batch, d].
        ref_labels: class indices of the reference embeddings; by default y_true.
        ref_embeddings: embeddings of length 1 to pair with, shape [n, d]; by default y_pred.
        remove_diagonal: whether example i makes no positive pair with reference i, itself.
        gamma: the scale, above 0.
        margin: in [0, 1]; cosines of positive pairs shall be above 1 - margin, of negative ones
            below margin.

    Raises:
        ValueError, TypeError: shapes or dtypes that do not go together; a gamma or margin out of
            its range.

    Differs from: the paper's code, which takes no gradient through the factors (margin + d) and
    (1 + margin - d). torch and optax do not have it.

    Reference: Sun et al. 2020, "Circle Loss: A Unified Perspective of Pair Similarity
    Optimization".
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
    """Labels of shape [n], one for each embedding."""
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
    """log sum exp x over the last axis under the mask; where nothing is, the least number."""
    return tf.reduce_logsumexp(tf.where(mask, x, tf.fill(tf.shape(x), x.dtype.min)), axis=-1)


def _unit(x: Tensor, axis: int) -> Tensor:
    """x / max(|x|, 1e-7)."""
    square = tf.reduce_sum(tf.square(x), axis=axis, keepdims=True)
    return x * tf.math.rsqrt(tf.maximum(square, EPSILON**2))
