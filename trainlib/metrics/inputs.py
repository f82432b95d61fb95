"""Shapes of targets, predictions and weights of metrics."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from trainlib.core.tree import as_floating, widen, with_rank
from trainlib.core.types import Tensor

INDICES = "[batch, ...], [batch, ..., 1]"
ROWS = "[batch, ..., K]"
"""The shapes of class indices and of one-hot rows."""


def match_targets(y_true: Tensor, y_pred: Tensor, dtype: Any) -> tuple[Tensor, Tensor]:
    """Return both as [batch, ..., D] in a dtype; a last axis of length 1 may be missing in either.

    Raises:
        ValueError: the shapes do not match.
    """
    y, p = tf.convert_to_tensor(y_true), tf.convert_to_tensor(y_pred)
    rank = max(y.shape.rank, p.shape.rank, 2)
    full = [x if x.shape.rank == rank else x[..., tf.newaxis] for x in (y, p) if x.shape.rank]
    if len(full) < 2 or not full[0].shape.is_compatible_with(full[1].shape):
        raise ValueError(
            f"y_true and y_pred must have one shape [batch, ...], got {list(y.shape)} and "
            f"{list(p.shape)}"
        )
    return tf.cast(full[0], dtype), tf.cast(full[1], dtype)


def match_labels(y_true: Tensor, y_pred: Tensor) -> tuple[Tensor, Tensor]:
    """Return labels and scores as [batch, ..., K], in the compute dtype of y_pred.

    Args:
        y_true: with a y_pred of K columns, K columns of labels, or class indices of shape [batch,
            ...] or [batch, ..., 1], which become one-hot rows, all 0 for an index outside 0..K-1;
            with one column, or only a batch axis, binary labels.
        y_pred: scores of shape [batch, ..., K] or [batch].

    Raises:
        ValueError: the shapes do not match.
    """
    y, p = tf.convert_to_tensor(y_true), tf.convert_to_tensor(y_pred)
    p = widen(as_floating(p, tf.float32))
    if p.shape.rank > 1 and p.shape[-1] != 1:
        if y.shape.rank == p.shape.rank and y.shape[-1] == 1:
            y = y[..., 0]
        if y.shape.rank == p.shape.rank - 1:
            y = tf.one_hot(tf.cast(y, tf.int64), num_columns(p), dtype=p.dtype)
    return match_targets(y, p, p.dtype)


def class_indices(
    name: str, y_true: Tensor, y_pred: Tensor, forms: str = f"{INDICES} or {ROWS}"
) -> tuple[Tensor, Tensor]:
    """Return the true classes as int64 of shape [batch, ...], and y_pred of [batch, ..., K].

    Args:
        name: name of the metric, for error messages.
        y_true: class indices or one-hot rows.
        y_pred: scores with two columns or more.
        forms: the accepted shapes of y_true: INDICES, ROWS, or both.

    Raises:
        ValueError: the shapes do not match, or K is 1.
    """
    y_true, y_pred = tf.convert_to_tensor(y_true), tf.convert_to_tensor(y_pred)
    batch = y_pred.shape[:-1]
    shapes = [batch, batch + [1]] if INDICES in forms else []
    shapes += [y_pred.shape] if ROWS in forms else []
    fitting = any(y_true.shape.is_compatible_with(shape) for shape in shapes)
    if y_pred.shape.rank in (0, 1) or y_pred.shape[-1] == 1 or not fitting:
        raise ValueError(
            f"{name} needs y_pred of shape [batch, ..., K], K at least 2, and y_true of shape "
            f"{forms}; got y_pred of {list(y_pred.shape)} and y_true of {list(y_true.shape)}"
        )
    if y_true.shape.rank == y_pred.shape.rank:
        y_true = y_true[..., 0] if y_true.shape[-1] == 1 else tf.argmax(y_true, axis=-1)
    return tf.cast(y_true, tf.int64), y_pred


def num_columns(y_pred: Tensor) -> int:
    """Return K of a y_pred of shape [batch, ..., K].

    Raises:
        ValueError: K is unknown while a graph is traced.
    """
    y_pred = tf.convert_to_tensor(y_pred)
    if y_pred.shape[-1] is None:
        raise ValueError(f"the last axis of y_pred must be known, got shape {list(y_pred.shape)}")
    return int(y_pred.shape[-1])


def weights_like(sample_weight: Tensor | None, values: Tensor) -> Tensor:
    """Return weights in float64 and the shape of the values; 1 if there are none.

    Args:
        sample_weight: in the shape of values or of its first axes; an axis may have length 1.
        values: [batch, ...].

    Raises:
        ValueError: the shapes do not match.
    """
    if sample_weight is None:
        return tf.ones(tf.shape(values), tf.float64)
    w = tf.cast(sample_weight, tf.float64)
    ours, theirs = w.shape, values.shape[: w.shape.rank]
    if ours.rank > theirs.rank or any(
        None not in (a, b) and a not in (1, b) for a, b in zip(ours, theirs, strict=True)
    ):
        raise ValueError(
            f"sample_weight must have the shape {list(values.shape)} or that of its first axes, "
            f"got {list(ours)}"
        )
    return tf.broadcast_to(with_rank(w, values.shape.rank), tf.shape(values))


def zero_where_excluded(w: Tensor, *values: Tensor) -> list[Tensor]:
    """Return values with 0 where their weight is 0: w x is 0 there, also for x infinite or NaN."""
    return [tf.where(tf.equal(w, 0), tf.zeros_like(x), x) for x in values]


def flatten_examples(x: Tensor) -> Tensor:
    """Reshape [batch, ..., K] to [N, K]."""
    return tf.reshape(x, [-1, num_columns(x)])
