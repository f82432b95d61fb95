"""Cross-entropies weighted by how confident the model is."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from trainlib.core.checks import check_number
from trainlib.core.types import Tensor
from trainlib.losses.crossentropy import (
    binary_entropy,
    binary_smoothed,
    categorical_smoothed,
    normalized,
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
    """Compute the binary focal cross-entropy, for a rare class among many easy examples.

        loss = a (y (1 - p) + (1 - y) p)^gamma H
        H    = -(y log p + (1 - y) log(1 - p))     p is clipped only here
        a    = y alpha + (1 - y) (1 - alpha)       with apply_class_balancing, else 1

    averaged over an axis, with p = sigmoid(z) of logits z.

    Args:
        y_true: y in [0, 1], of the shape of y_pred.
        y_pred: probabilities or logits, shape [batch, ..., d].
        apply_class_balancing: whether the classes are weighted by alpha. Default: False.
        alpha: weight of class 1, in [0, 1]; class 0 has 1 - alpha. Default: 0.25.
        gamma: focusing exponent, at least 0; larger values give easy examples less weight. Default:
            2.
        from_logits: whether y_pred holds logits z instead of probabilities p. Default: False.
        label_smoothing: s in [0, 1]; y becomes y (1 - s) + s / 2. Default: 0.
        axis: the axis to average over. Default: -1.

    Returns:
        The loss of each example, shape [batch, ...].

    Raises:
        ValueError, TypeError: shapes or dtypes do not match, or an option is out of range.

    Example:
        >>> tl.losses.binary_focal_crossentropy([[0.0, 1.0]], [[0.2, 0.6]]).numpy().round(3)
        array([0.045], dtype=float32)

    Differences:
        Keras: the sigmoid of logits is clipped; here logits have no bounds. Where p = y, the
            gradient is NaN for a gamma below 1; here it is 0.
        Optax: `sigmoid_focal_loss` takes no mean, and its alpha is None for no class weights.

    References:
        Lin, Goyal, Girshick, He and Dollár 2017, "Focal Loss for Dense Object Detection".
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
    """Compute the focal cross-entropy of several classes, for data in which some are rare.

        -sum alpha (1 - p)^gamma y log p

    over the classes, with p divided by their sum and then clipped, or p = softmax(z) of logits z.

    Args:
        y_true: probabilities of the K classes, such as one-hot rows; shape [batch, ..., K].
        y_pred: probabilities or logits, of the shape of y_true.
        alpha: weight of every class, at least 0, or a sequence of K weights. Default: 0.25.
        gamma: focusing exponent, at least 0; larger values give easy examples less weight. Default:
            2.
        from_logits: whether y_pred holds logits z instead of probabilities p. Default: False.
        label_smoothing: s in [0, 1]; y becomes y (1 - s) + s / K. Default: 0.
        axis: the axis of the classes. Default: -1.

    Returns:
        The loss of each example, shape [batch, ...].

    Raises:
        ValueError, TypeError: shapes or dtypes do not match, or an option is out of range.

    Example:
        >>> y_true, y_pred = [[0.0, 1.0, 0.0]], [[0.2, 0.5, 0.3]]
        >>> tl.losses.categorical_focal_crossentropy(y_true, y_pred).numpy().round(3)
        array([0.043], dtype=float32)

    Differences:
        Keras: the softmax of logits is clipped; here logits have no bounds. For an axis other than
            the last, alpha and K are those of the last axis.

    References:
        Lin, Goyal, Girshick, He and Dollár 2017, "Focal Loss for Dense Object Detection".
    """
    check_number("gamma", gamma, at_least=0)
    y, y_pred = match_shapes(y_true, y_pred)
    check_axis(axis, y_pred)
    y = categorical_smoothed(y, label_smoothing, axis)
    if from_logits:
        log_p = tf.nn.log_softmax(y_pred, axis=axis)
        wrong = -tf.math.expm1(log_p)
    else:
        p = normalized(y_pred, axis)
        log_p, wrong = tf.math.log(p), 1 - p
    weight = _alphas(alpha, y_pred, axis) * power(wrong, gamma)
    return -tf.reduce_sum(weight * y * log_p, axis=axis)


def categorical_generalized_cross_entropy(y_true: Tensor, y_pred: Tensor, q: float = 0.5) -> Tensor:
    """Compute the generalized cross-entropy, which is robust to wrong labels.

        loss = (1 - p[y]^q) / q

    with the probability p[y] of the true class: between the cross-entropy (q to 0) and the mean
    absolute error (q = 1).

    Args:
        y_true: class indices of shape [batch, ...] or [batch, ..., 1]. An index outside 0..K-1 has
            probability 0, and so loss 1 / q.
        y_pred: probabilities of shape [batch, ..., K], not clipped.
        q: the exponent, in (0, 1]. Default: 0.5.

    Returns:
        The loss of each example, shape [batch, ...].

    Raises:
        ValueError, TypeError: shapes or dtypes do not match, or q is out of range.

    Example:
        >>> y_true, y_pred = [1], [[0.5, 0.25, 0.25]]
        >>> tl.losses.categorical_generalized_cross_entropy(y_true, y_pred).numpy()
        array([1.], dtype=float32)

    Differences:
        Keras: at p[y] = 0 the gradient is infinite, and NaN for the other classes; here it is 0.

    References:
        Zhang and Sabuncu 2018, "Generalized Cross Entropy Loss for Training Deep Neural Networks
        with Noisy Labels".
    """
    check_number("q", q, above=0, at_most=1)
    y_pred = predictions(y_pred)
    y = label_indices(y_true, y_pred)
    true = tf.one_hot(y, tf.shape(y_pred)[-1], dtype=y_pred.dtype)
    return (1 - power(tf.reduce_sum(true * y_pred, axis=-1), q)) / q


def _alphas(alpha: float | Sequence[float], y_pred: Tensor, axis: int) -> Tensor:
    """Return the class weights in a shape that broadcasts with y_pred."""
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
