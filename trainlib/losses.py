"""Losses: pure functions `(y_true, y_pred) -> loss of each example`, and their reductions.

y_true and y_pred have shapes [batch, ..., d]; the loss has [batch, ...]. Losses run in float32,
or in float64 where y_pred is float64. Whether y_pred holds logits or probabilities is said by
`from_logits`, never guessed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import tensorflow as tf

from trainlib.base import Tensor
from trainlib.checks import check_choice, check_number
from trainlib.tree import widen

Loss: TypeAlias = Callable[[Tensor, Tensor], Tensor]

EPSILON = 1e-7
"""Probabilities are clipped to [EPSILON, 1 - EPSILON] before their logarithm is taken."""

REDUCTIONS = ("sum_over_batch_size", "mean_with_sample_weight", "sum", "none")


def mean_squared_error(y_true: Tensor, y_pred: Tensor) -> Tensor:
    """loss = mean (y_true - y_pred)^2 over the last axis."""
    y_true, y_pred = _alike(y_true, y_pred)
    return tf.reduce_mean(tf.square(y_true - y_pred), axis=-1)


def mean_absolute_error(y_true: Tensor, y_pred: Tensor) -> Tensor:
    """loss = mean |y_true - y_pred| over the last axis."""
    y_true, y_pred = _alike(y_true, y_pred)
    return tf.reduce_mean(tf.abs(y_true - y_pred), axis=-1)


def huber(y_true: Tensor, y_pred: Tensor, delta: float = 1.0) -> Tensor:
    """With e = |y_true - y_pred|, the mean over the last axis of

        e^2 / 2                  where e <= delta
        delta e - delta^2 / 2    elsewhere

    Args:
        delta: where the parabola turns into a line; above 0.

    Reference: Huber 1964, "Robust Estimation of a Location Parameter".
    """
    check_number("delta", delta, above=0)
    y_true, y_pred = _alike(y_true, y_pred)
    e = tf.abs(y_true - y_pred)
    loss = tf.where(e <= delta, tf.square(e) / 2, delta * e - delta * delta / 2)
    return tf.reduce_mean(loss, axis=-1)


def binary_crossentropy(
    y_true: Tensor, y_pred: Tensor, from_logits: bool = False, label_smoothing: float = 0.0
) -> Tensor:
    """The mean over the last axis of

        -(y log p + (1 - y) log(1 - p))          p: probabilities, clipped
        max(z, 0) - z y + log(1 + exp(-|z|))     z: logits

    Args:
        y_true: y in [0, 1].
        from_logits: whether y_pred holds logits z; otherwise probabilities p.
        label_smoothing: s in [0, 1]; y becomes y (1 - s) + s / 2.

    The gradient is 0 where a probability lies outside [1e-7, 1 - 1e-7]; logits have no such edge.
    """
    check_number("label_smoothing", label_smoothing, at_least=0, at_most=1)
    y, y_pred = _alike(y_true, y_pred)
    y = y * (1 - label_smoothing) + label_smoothing / 2
    if from_logits:
        loss = tf.nn.sigmoid_cross_entropy_with_logits(labels=y, logits=y_pred)
    else:
        p = tf.clip_by_value(y_pred, EPSILON, 1 - EPSILON)
        loss = -(y * tf.math.log(p) + (1 - y) * tf.math.log(1 - p))
    return tf.reduce_mean(loss, axis=-1)


def categorical_crossentropy(
    y_true: Tensor, y_pred: Tensor, from_logits: bool = False, label_smoothing: float = 0.0
) -> Tensor:
    """The sum over the last axis of

        -y log p                     p: probabilities, divided by their sum, then clipped
        -y (z - logsumexp z)         z: logits

    Args:
        y_true: a probability for each of the K classes, one-hot say; shape [batch, ..., K].
        from_logits: whether y_pred holds logits z; otherwise probabilities p.
        label_smoothing: s in [0, 1]; y becomes y (1 - s) + s / K.

    The gradient is 0 where a probability lies outside [1e-7, 1 - 1e-7]; logits have no such edge.
    """
    check_number("label_smoothing", label_smoothing, at_least=0, at_most=1)
    y, y_pred = _alike(y_true, y_pred)
    classes = y.shape[-1]
    y = y * (1 - label_smoothing) + label_smoothing / classes
    if from_logits:
        return tf.nn.softmax_cross_entropy_with_logits(y, y_pred)
    p = y_pred / tf.reduce_sum(y_pred, axis=-1, keepdims=True)
    p = tf.clip_by_value(p, EPSILON, 1 - EPSILON)
    return -tf.reduce_sum(y * tf.math.log(p), axis=-1)


def sparse_categorical_crossentropy(
    y_true: Tensor, y_pred: Tensor, from_logits: bool = False
) -> Tensor:
    """The cross-entropy of the class y_true,

        log(sum p) - log p[y]        p: probabilities, clipped
        logsumexp z - z[y]           z: logits

    Args:
        y_true: class indices in 0..K-1, of shape [batch, ...] or [batch, ..., 1]; any integer
            or floating dtype. An index outside makes the loss NaN or raises, by device.
        y_pred: shape [batch, ..., K].
        from_logits: whether y_pred holds logits z; otherwise probabilities p.

    Probabilities are clipped and then divided by their sum, as Keras does here, where
    `categorical_crossentropy` divides first. The gradient is 0 where a probability lies outside
    [1e-7, 1 - 1e-7]; logits have no such edge.
    """
    y, y_pred = tf.convert_to_tensor(y_true), _predictions(y_pred)
    if y.shape.rank == y_pred.shape.rank and y.shape[-1] == 1:
        y = tf.squeeze(y, axis=-1)
    if not y.shape.is_compatible_with(y_pred.shape[:-1]):
        raise ValueError(
            f"y_true must have shape {list(y_pred.shape[:-1])} for y_pred of {list(y_pred.shape)}, "
            f"got {list(y.shape)}"
        )
    z = y_pred
    if not from_logits:
        z = tf.math.log(tf.clip_by_value(y_pred, EPSILON, 1 - EPSILON))
    return tf.nn.sparse_softmax_cross_entropy_with_logits(tf.cast(y, tf.int64), z)


def weighted_sum(values: Tensor, sample_weight: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """The pair (sum of weight times value, sum of weights) over a batch of losses.

    Pairs of parts of a batch add up to the pair of the batch, however unequal the parts, and the
    division is made once, at the end.

    Args:
        values: [batch, ...].
        sample_weight: [batch] or the shape of values; None gives each value the weight 1. A
            weight of an example is the weight of each of its values.
    """
    values = widen(values)
    if sample_weight is None:
        return tf.reduce_sum(values), tf.cast(tf.size(values), values.dtype)
    w = _spread(tf.cast(sample_weight, values.dtype), values)
    return tf.reduce_sum(w * values), tf.reduce_sum(w)


def reduce(
    values: Tensor,
    sample_weight: Tensor | None = None,
    reduction: str = "sum_over_batch_size",
) -> Tensor:
    """Reduces the losses of a batch as Keras does.

    sum_over_batch_size: sum w l / (number of losses).   sum: sum w l.
    mean_with_sample_weight: sum w l / sum w, 0 where the weights are 0.   none: w l.

    Args:
        values: l, shape [batch, ...].
        sample_weight: w, of shape [batch] or of l's shape; None for 1.
        reduction: one of these four.
    """
    check_choice("reduction", reduction, REDUCTIONS)
    values = widen(values)
    if reduction == "none":
        if sample_weight is None:
            return values
        return _spread(tf.cast(sample_weight, values.dtype), values) * values
    total, weight = weighted_sum(values, sample_weight)
    if reduction == "sum":
        return total
    if reduction == "sum_over_batch_size":
        weight = tf.cast(tf.size(values), values.dtype)
    return tf.math.divide_no_nan(total, weight)


def _predictions(y_pred: Tensor) -> Tensor:
    """y_pred in its compute dtype."""
    y_pred = tf.convert_to_tensor(y_pred)
    if not y_pred.dtype.is_floating:
        raise TypeError(f"y_pred must be of a floating dtype, got {y_pred.dtype.name}")
    if y_pred.shape.rank == 0:
        raise ValueError("y_pred must have shape [batch, ..., d], got a scalar")
    return widen(y_pred)


def _alike(y_true: Tensor, y_pred: Tensor) -> tuple[Tensor, Tensor]:
    """Both in y_pred's compute dtype and in one shape; a missing last axis of 1 is added."""
    y_pred = _predictions(y_pred)
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


def _spread(weight: Tensor, values: Tensor) -> Tensor:
    """Weights in the shape of the values: an example's weight goes to each of its values."""
    if not weight.shape.is_compatible_with(values.shape[: weight.shape.rank]):
        raise ValueError(
            f"sample_weight must have the shape of the losses, {list(values.shape)}, or of their "
            f"first axes, got {list(weight.shape)}"
        )
    for _ in range(values.shape.rank - weight.shape.rank):
        weight = weight[..., tf.newaxis]
    return tf.broadcast_to(weight, tf.shape(values))
