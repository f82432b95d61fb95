"""Losses of probabilities: cross-entropies and the divergence of Kullback and Leibler.

Whether y_pred holds logits or probabilities is said by `from_logits`, never guessed.
"""

from __future__ import annotations

import tensorflow as tf

from trainlib.core.checks import check_integer, check_number
from trainlib.core.types import Tensor
from trainlib.losses.inputs import (
    EPSILON,
    check_axis,
    clip,
    label_indices,
    match_shapes,
    predictions,
    size_of,
)
from trainlib.losses.masked import Masked


def binary_crossentropy(
    y_true: Tensor,
    y_pred: Tensor,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
) -> Tensor:
    """The mean over an axis of

        -(y log p + (1 - y) log(1 - p))          p: probabilities, clipped
        max(z, 0) - z y + log(1 + exp(-|z|))     z: logits

    For two classes, or for labels of which several can be true.

    Args:
        y_true: y in [0, 1].
        y_pred: probabilities or logits, in y_true's shape.
        from_logits: whether y_pred holds logits z; otherwise probabilities p.
        label_smoothing: s in [0, 1]; y becomes y (1 - s) + s / 2.
        axis: over which the mean is taken.

    The gradient is 0 where a probability lies outside [1e-7, 1 - 1e-7]; logits have no such edge.

    Raises:
        ValueError, TypeError: shapes or dtypes that do not go together; an option out of range.

    Differs from: Keras, which takes the output of a sigmoid for the logits behind it. torch
    bounds log p and log(1 - p) by -100 instead; it and optax take no mean.

    Reference: Good 1952, "Rational Decisions".
    """
    y, y_pred = match_shapes(y_true, y_pred)
    check_axis(axis, y_pred)
    y = binary_smoothed(y, label_smoothing)
    if from_logits:
        loss = tf.nn.sigmoid_cross_entropy_with_logits(labels=y, logits=y_pred)
    else:
        loss = binary_entropy(y, y_pred)
    return tf.reduce_mean(loss, axis=axis)


def categorical_crossentropy(
    y_true: Tensor,
    y_pred: Tensor,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
) -> Tensor:
    """The sum over the axis of classes of

        -y log p                     p: probabilities, divided by their sum, then clipped
        -y (z - logsumexp z)         z: logits

    For one class of several, given as one-hot rows or as a distribution.

    Args:
        y_true: a probability for each of the K classes, one-hot say; shape [batch, ..., K].
        y_pred: probabilities or logits, in y_true's shape.
        from_logits: whether y_pred holds logits z; otherwise probabilities p.
        label_smoothing: s in [0, 1]; y becomes y (1 - s) + s / K.
        axis: of the classes.

    The gradient is 0 where a probability lies outside [1e-7, 1 - 1e-7]; logits have no such edge.

    Raises:
        ValueError, TypeError: shapes or dtypes that do not go together; an option out of range.

    Differs from: Keras, which takes the output of a softmax for the logits behind it, and the
    length of the last axis for K whatever the axis. torch.cross_entropy and
    optax.softmax_cross_entropy take logits alone.

    Reference: Bridle 1990, "Probabilistic Interpretation of Feedforward Classification Network
    Outputs"; label smoothing: Szegedy et al. 2016, "Rethinking the Inception Architecture for
    Computer Vision".
    """
    y, y_pred = match_shapes(y_true, y_pred)
    check_axis(axis, y_pred)
    y = categorical_smoothed(y, label_smoothing, axis)
    if from_logits:
        # TensorFlow refuses negative axes but -1 here.
        return tf.nn.softmax_cross_entropy_with_logits(y, y_pred, axis=axis % y_pred.shape.rank)
    return -tf.reduce_sum(y * tf.math.log(normalised(y_pred, axis)), axis=axis)


def sparse_categorical_crossentropy(
    y_true: Tensor,
    y_pred: Tensor,
    from_logits: bool = False,
    ignore_class: int | None = None,
    axis: int = -1,
) -> Tensor:
    """The cross-entropy of the class y_true,

        log(sum p) - log p[y]        p: probabilities, clipped
        logsumexp z - z[y]           z: logits

    For one class of several, given by its index.

    Args:
        y_true: class indices in 0..K-1, of shape [batch, ...] or [batch, ..., 1]; any integer
            or floating dtype. An index outside makes the loss NaN or raises, by device.
        y_pred: shape [batch, ..., K].
        from_logits: whether y_pred holds logits z; otherwise probabilities p.
        ignore_class: an index, in 0..K-1 or not, whose entries have a loss of 0 and do not count
            in a mean: the result is then `Masked`.
        axis: of the classes.

    Probabilities are clipped and then divided by their sum, as Keras does here, where
    `categorical_crossentropy` divides first. The gradient is 0 where a probability lies outside
    [1e-7, 1 - 1e-7]; logits have no such edge.

    Raises:
        ValueError, TypeError: shapes or dtypes that do not go together; an axis out of range.

    Differs from: Keras, which takes the output of a softmax for the logits behind it, and the
    last axis alone. torch.cross_entropy(ignore_index=-100) and optax take logits alone.

    Reference: as for `categorical_crossentropy`.
    """
    y_pred = predictions(y_pred)
    check_axis(axis, y_pred)
    y = label_indices(y_true, y_pred, axis)
    z = tf.experimental.numpy.moveaxis(y_pred, axis, -1)
    if not from_logits:
        z = tf.math.log(clip(z))
    if ignore_class is None:
        return tf.nn.sparse_softmax_cross_entropy_with_logits(y, z)
    check_integer("ignore_class", ignore_class, at_least=-(2**31), at_most=2**31 - 1)
    valid = tf.not_equal(y, ignore_class)
    y, z = tf.where(valid, y, 0), tf.where(valid[..., tf.newaxis], z, tf.zeros_like(z))
    return Masked.where(valid, tf.nn.sparse_softmax_cross_entropy_with_logits(y, z))


def kl_divergence(y_true: Tensor, y_pred: Tensor) -> Tensor:
    """The sum over the last axis of y log(y / p), both clipped to [1e-7, 1].

    For distributions as targets: the cross-entropy without the entropy of the target.

    Args:
        y_true: y, probabilities of shape [batch, ..., K].
        y_pred: p, probabilities of that shape; the gradient is 0 where one lies outside.

    Raises:
        ValueError, TypeError: shapes or dtypes that do not go together.

    Differs from: torch.kl_div and optax.kl_divergence, which take log p, do not clip, and count
    a y of 0 as 0; torch takes no sum.

    Reference: Kullback and Leibler 1951, "On Information and Sufficiency".
    """
    y, p = match_shapes(y_true, y_pred)
    y, p = tf.clip_by_value(y, EPSILON, 1), tf.clip_by_value(p, EPSILON, 1)
    return tf.reduce_sum(y * tf.math.log(y / p), axis=-1)


def binary_entropy(y: Tensor, p: Tensor) -> Tensor:
    """-(y log p + (1 - y) log(1 - p)) of each element, p clipped."""
    p = clip(p)
    return -(y * tf.math.log(p) + (1 - y) * tf.math.log(1 - p))


def normalised(p: Tensor, axis: int) -> Tensor:
    """Probabilities divided by their sum, then clipped."""
    return clip(p / tf.reduce_sum(p, axis=axis, keepdims=True))


def binary_smoothed(y: Tensor, label_smoothing: float) -> Tensor:
    """y (1 - s) + s / 2."""
    check_number("label_smoothing", label_smoothing, at_least=0, at_most=1)
    return y * (1 - label_smoothing) + label_smoothing / 2


def categorical_smoothed(y: Tensor, label_smoothing: float, axis: int) -> Tensor:
    """y (1 - s) + s / K."""
    check_number("label_smoothing", label_smoothing, at_least=0, at_most=1)
    return y * (1 - label_smoothing) + label_smoothing / size_of(y, axis)
