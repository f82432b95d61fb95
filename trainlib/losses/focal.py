"""Cross-entropies that weigh examples by how sure the model is of them."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from trainlib.core.checks import check_number
from trainlib.core.types import Tensor
from trainlib.losses.crossentropy import (
    binary_entropy,
    binary_smoothed,
    categorical_smoothed,
    normalised,
)
from trainlib.losses.inputs import check_axis, label_indices, match_shapes, power, predictions


def binary_focal_crossentropy(
    y_true: Tensor,
    y_pred: Tensor,
    apply_class_balancing: bool = False,
    alpha: float = 0.25,
    gamma: float = 2.0,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
) -> Tensor:
    """The mean over an axis of a (y (1 - p) + (1 - y) p)^gamma H,

        H = -(y log p + (1 - y) log(1 - p))     p clipped here alone
        a = y alpha + (1 - y) (1 - alpha)       with apply_class_balancing, else 1

    with p = sigmoid(z) of logits z. For two classes of which one is rare and most examples are
    easy.

    Args:
        y_true: y in [0, 1].
        y_pred: probabilities or logits, in y_true's shape.
        apply_class_balancing: whether the classes are weighed by alpha.
        alpha: the weight of class 1, in [0, 1]; that of class 0 is 1 - alpha.
        gamma: at least 0; the larger, the less the easy examples weigh.
        from_logits: whether y_pred holds logits z; otherwise probabilities p.
        label_smoothing: s in [0, 1]; y becomes y (1 - s) + s / 2.
        axis: over which the mean is taken.

    Raises:
        ValueError, TypeError: shapes or dtypes that do not go together; an option out of range.

    Differs from: Keras for logits beyond 16, of which it takes the sigmoid and clips it: here they
    have no edge, as in optax.sigmoid_focal_loss, which takes no mean and whose alpha is None
    where it does not weigh. Where p = y, Keras's gradient is NaN for a gamma below 1; here 0.

    Reference: Lin, Goyal, Girshick, He and Dollar 2017, "Focal Loss for Dense Object Detection".
    """
    check_number("alpha", alpha, at_least=0, at_most=1)
    check_number("gamma", gamma, at_least=0)
    y, y_pred = match_shapes(y_true, y_pred)
    check_axis(axis, y_pred)
    y = binary_smoothed(y, label_smoothing)
    if from_logits:
        entropy = tf.nn.sigmoid_cross_entropy_with_logits(labels=y, logits=y_pred)
        wrong = y * tf.sigmoid(-y_pred) + (1 - y) * tf.sigmoid(y_pred)
    else:
        entropy = binary_entropy(y, y_pred)
        wrong = y * (1 - y_pred) + (1 - y) * y_pred
    loss = power(wrong, gamma) * entropy
    if apply_class_balancing:
        loss = (y * alpha + (1 - y) * (1 - alpha)) * loss
    return tf.reduce_mean(loss, axis=axis)


def categorical_focal_crossentropy(
    y_true: Tensor,
    y_pred: Tensor,
    alpha: float | Sequence[float] = 0.25,
    gamma: float = 2.0,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
) -> Tensor:
    """The sum over the axis of classes of -alpha (1 - p)^gamma y log p,

    with p divided by their sum, then clipped; or p = softmax(z) of logits z. For several classes
    of which some are rare.

    Args:
        y_true: a probability for each of the K classes, one-hot say; shape [batch, ..., K].
        y_pred: probabilities or logits, in y_true's shape.
        alpha: the weight of every class, at least 0; or one for each of the K classes.
        gamma: at least 0; the larger, the less the easy examples weigh.
        from_logits: whether y_pred holds logits z; otherwise probabilities p.
        label_smoothing: s in [0, 1]; y becomes y (1 - s) + s / K.
        axis: of the classes.

    Raises:
        ValueError, TypeError: shapes or dtypes that do not go together; an option out of range.

    Differs from: Keras for logits, of which it takes the softmax and clips it: here they have no
    edge. For another axis than the last, Keras has the alphas and K of the last one. torch and
    optax do not have it.

    Reference: Lin, Goyal, Girshick, He and Dollar 2017, "Focal Loss for Dense Object Detection".
    """
    check_number("gamma", gamma, at_least=0)
    y, y_pred = match_shapes(y_true, y_pred)
    check_axis(axis, y_pred)
    y = categorical_smoothed(y, label_smoothing, axis)
    if from_logits:
        log_p = tf.nn.log_softmax(y_pred, axis=axis)
        wrong = -tf.math.expm1(log_p)
    else:
        p = normalised(y_pred, axis)
        log_p, wrong = tf.math.log(p), 1 - p
    weight = _alphas(alpha, y_pred, axis) * power(wrong, gamma)
    return -tf.reduce_sum(weight * y * log_p, axis=axis)


def categorical_generalized_cross_entropy(y_true: Tensor, y_pred: Tensor, q: float = 0.5) -> Tensor:
    """(1 - p[y]^q) / q, with the probability p[y] of the true class.

    For labels of which some are wrong: between the cross-entropy (q to 0) and the mean absolute
    error (q = 1).

    Args:
        y_true: class indices of shape [batch, ...] or [batch, ..., 1]. An index outside 0..K-1
            has the probability 0, and so the loss 1 / q.
        y_pred: probabilities of shape [batch, ..., K], not clipped.
        q: in (0, 1].

    Raises:
        ValueError, TypeError: shapes or dtypes that do not go together; a q out of its range.

    Differs from: Keras at p[y] = 0, where its gradient is infinite, and NaN for the other classes;
    here 0. torch and optax do not have it.

    Reference: Zhang and Sabuncu 2018, "Generalized Cross Entropy Loss for Training Deep Neural
    Networks with Noisy Labels".
    """
    check_number("q", q, above=0, at_most=1)
    y_pred = predictions(y_pred)
    y = label_indices(y_true, y_pred)
    true = tf.one_hot(y, tf.shape(y_pred)[-1], dtype=y_pred.dtype)
    return (1 - power(tf.reduce_sum(true * y_pred, axis=-1), q)) / q


def _alphas(alpha: float | Sequence[float], y_pred: Tensor, axis: int) -> Tensor:
    """The weights of the classes, to be multiplied with y_pred's elements."""
    if not isinstance(alpha, Sequence) or isinstance(alpha, str):
        check_number("alpha", alpha, at_least=0)
        return alpha
    for a in alpha:
        check_number("each alpha", a, at_least=0)
    if y_pred.shape[axis] not in (None, len(alpha)):
        raise ValueError(
            f"alpha must be a number or {y_pred.shape[axis]} of them, one for each class, "
            f"got {len(alpha)}"
        )
    shape = [1] * y_pred.shape.rank
    shape[axis] = len(alpha)
    return tf.constant([float(a) for a in alpha], y_pred.dtype, shape)
