"""Shapes, dtypes and bounds of the arguments of losses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import tensorflow as tf

from trainlib.core.checks import check_integer
from trainlib.core.tree import widen
from trainlib.core.types import Tensor

Loss: TypeAlias = Callable[[Tensor, Tensor], Tensor]
Axis: TypeAlias = int | Sequence[int] | None

EPSILON = 1e-7
"""Probabilities are clipped to [EPSILON, 1 - EPSILON] before their logarithm is taken."""


def predictions(y_pred: Tensor) -> Tensor:
    """Return y_pred in its compute dtype.

    Raises:
        TypeError: y_pred is not floating.
        ValueError: y_pred is a scalar.
    """
    y_pred = tf.convert_to_tensor(y_pred)
    if not y_pred.dtype.is_floating:
        raise TypeError(f"y_pred must be of a floating dtype, got {y_pred.dtype.name}")
    if y_pred.shape.rank == 0:
        raise ValueError("y_pred must have shape [batch, ..., d], got a scalar")
    return widen(y_pred)


def match_shapes(y_true: Tensor, y_pred: Tensor) -> tuple[Tensor, Tensor]:
    """Return y_true and y_pred in the compute dtype of y_pred and in one shape.

    A missing last axis of length 1 is added to either.

    Raises:
        ValueError: the shapes do not match.
    """
    y_pred = predictions(y_pred)
    y_true = tf.cast(tf.convert_to_tensor(y_true), y_pred.dtype)
    ranks = y_true.shape.rank, y_pred.shape.rank
    if ranks[0] + 1 == ranks[1] and y_pred.shape[-1] == 1:
        y_true = y_true[..., tf.newaxis]
    elif ranks[0] == ranks[1] + 1 and y_true.shape[-1] == 1:
        y_pred = y_pred[..., tf.newaxis]
    if not y_true.shape.is_compatible_with(y_pred.shape):
        raise ValueError(
            f"y_true and y_pred must have one shape, got {list(y_true.shape)} and "
            f"{list(y_pred.shape)}"
        )
    return y_true, y_pred


def match_ranks(y_true: Tensor, y_pred: Tensor) -> tuple[Tensor, Tensor]:
    """Return both in one rank, as Keras does if one of them lacks a last axis of length 1.

    Without it, targets [batch] and predictions [batch, 1] would broadcast to [batch, batch].
    """
    y_true, y_pred = tf.convert_to_tensor(y_true), tf.convert_to_tensor(y_pred)
    ranks = y_true.shape.rank, y_pred.shape.rank
    if ranks[0] + 1 == ranks[1] and y_pred.shape[-1] == 1:
        return (y_true[:, tf.newaxis], y_pred) if ranks[0] == 1 else (y_true, y_pred[..., 0])
    if ranks[0] == ranks[1] + 1 and y_true.shape[-1] == 1:
        return (y_true, y_pred[:, tf.newaxis]) if ranks[1] == 1 else (y_true[..., 0], y_pred)
    return y_true, y_pred


def label_indices(y_true: Tensor, y_pred: Tensor, axis: int = -1) -> Tensor:
    """Return class indices as int64, in the shape of y_pred without the axis of classes.

    An axis of length 1 in the place of the classes is removed.

    Raises:
        ValueError: the shapes do not match.
    """
    y = tf.convert_to_tensor(y_true)
    rest = list(y_pred.shape)
    rest.pop(axis)
    if y.shape.rank == y_pred.shape.rank and y.shape[axis] == 1:
        y = tf.squeeze(y, axis=axis)
    if not y.shape.is_compatible_with(rest):
        raise ValueError(
            f"y_true must have shape {rest} for y_pred of {list(y_pred.shape)}, got {list(y.shape)}"
        )
    return tf.cast(y, tf.int64)


def check_axis(axis: int, y_pred: Tensor) -> None:
    """Raise `ValueError` unless y_pred has the axis."""
    check_integer("axis", axis, at_least=-y_pred.shape.rank, at_most=y_pred.shape.rank - 1)


def size_of(x: Tensor, axis: int) -> Tensor:
    """Return the length of an axis, in the dtype of x."""
    return tf.cast(tf.shape(x)[axis], x.dtype)


def clip(p: Tensor) -> Tensor:
    """Clip probabilities away from 0 and 1; the gradient is 0 outside the bounds."""
    return tf.clip_by_value(p, EPSILON, 1 - EPSILON)


def power(x: Tensor, a: Tensor) -> Tensor:
    """Return x^a with a gradient of 0 at x = 0, where that of the power can be infinite or NaN."""
    zero = tf.equal(x, 0)
    at_zero = tf.pow(tf.zeros_like(x), a)
    return tf.where(zero, at_zero, tf.pow(tf.where(zero, tf.ones_like(x), x), a))
