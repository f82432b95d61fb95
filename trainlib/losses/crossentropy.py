"""Cross-entropies and the Kullback-Leibler divergence."""

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
    """Compute the binary cross-entropy, for two classes or for independent labels.

        -(y log p + (1 - y) log(1 - p))          p: probabilities, clipped
        max(z, 0) - z y + log(1 + exp(-|z|))     z: logits

    averaged over an axis. The gradient is 0 where a probability is outside [1e-7, 1 - 1e-7]; logits
    have no such bounds.

    Args:
        y_true: y in [0, 1], of the shape of y_pred.
        y_pred: probabilities or logits, shape [batch, ..., d].
        from_logits: whether y_pred holds logits z instead of probabilities p. Default: False.
        label_smoothing: s in [0, 1]; y becomes y (1 - s) + s / 2. Default: 0.
        axis: the axis to average over. Default: -1.

    Returns:
        The loss of each example, shape [batch, ...].

    Raises:
        ValueError, TypeError: shapes or dtypes do not match, or an option is out of range.

    Example:
        >>> y_true, y_pred = [[0.0, 1.0]], [[0.2, 0.6]]
        >>> tl.losses.binary_crossentropy(y_true, y_pred).numpy().round(3)
        array([0.367], dtype=float32)

    Differences:
        Keras: the logits that a sigmoid was applied to are used in place of its output.
        PyTorch: log p and log(1 - p) are bounded by -100 instead of clipping p; no mean is taken.
        Optax: no mean is taken.

    References:
        Good 1952, "Rational Decisions".
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
    """Compute the cross-entropy of one-hot rows or distributions over classes.

        -sum y log p                     p: probabilities, divided by their sum, then clipped
        -sum y (z - logsumexp z)         z: logits

    The gradient is 0 where a probability is outside [1e-7, 1 - 1e-7]; logits have no such bounds.

    Args:
        y_true: probabilities of the K classes, such as one-hot rows; shape [batch, ..., K].
        y_pred: probabilities or logits, of the shape of y_true.
        from_logits: whether y_pred holds logits z instead of probabilities p. Default: False.
        label_smoothing: s in [0, 1]; y becomes y (1 - s) + s / K. Default: 0.
        axis: the axis of the classes. Default: -1.

    Returns:
        The loss of each example, shape [batch, ...].

    Raises:
        ValueError, TypeError: shapes or dtypes do not match, or an option is out of range.

    Example:
        >>> y_true, y_pred = [[0.0, 1.0, 0.0]], [[0.2, 0.5, 0.3]]
        >>> tl.losses.categorical_crossentropy(y_true, y_pred).numpy().round(3)
        array([0.693], dtype=float32)

    Differences:
        Keras: the logits that a softmax was applied to are used in place of its output, and K is
            the length of the last axis whatever the axis.
        PyTorch, Optax: `cross_entropy` and `softmax_cross_entropy` accept logits only.

    References:
        Bridle 1990, "Probabilistic Interpretation of Feedforward Classification Network Outputs".
        Szegedy et al. 2016, "Rethinking the Inception Architecture for Computer Vision" (label
        smoothing).
    """
    y, y_pred = match_shapes(y_true, y_pred)
    check_axis(axis, y_pred)
    y = categorical_smoothed(y, label_smoothing, axis)
    if from_logits:
        # TensorFlow accepts no negative axis but -1 here.
        return tf.nn.softmax_cross_entropy_with_logits(y, y_pred, axis=axis % y_pred.shape.rank)
    return -tf.reduce_sum(y * tf.math.log(normalized(y_pred, axis)), axis=axis)


def sparse_categorical_crossentropy(
    y_true: Tensor,
    y_pred: Tensor,
    from_logits: bool = False,
    ignore_class: int | None = None,
    axis: int = -1,
) -> Tensor:
    """Compute the cross-entropy of class indices.

        log(sum p) - log p[y]        p: probabilities, clipped
        logsumexp z - z[y]           z: logits

    Probabilities are clipped and then divided by their sum, as in Keras;
    `categorical_crossentropy` divides first. The gradient is 0 where a probability is outside
    [1e-7, 1 - 1e-7]; logits have no such bounds.

    Args:
        y_true: class indices in 0..K-1, of shape [batch, ...] or [batch, ..., 1] and any integer or
            floating dtype. An index outside makes the loss NaN or raises, depending on the device.
        y_pred: probabilities or logits, shape [batch, ..., K].
        from_logits: whether y_pred holds logits z instead of probabilities p. Default: False.
        ignore_class: an index, in 0..K-1 or not, whose entries have loss 0 and do not count in a
            mean; the result is then `Masked`. Default: None.
        axis: the axis of the classes. Default: -1.

    Returns:
        The loss of each example, shape [batch, ...]; `Masked` with ignore_class.

    Raises:
        ValueError, TypeError: shapes or dtypes do not match, or an option is out of range.

    Example:
        >>> y_true, y_pred = [1], [[0.2, 0.5, 0.3]]
        >>> tl.losses.sparse_categorical_crossentropy(y_true, y_pred).numpy().round(3)
        array([0.693], dtype=float32)

    Differences:
        Keras: the logits that a softmax was applied to are used in place of its output, and the
            classes are on the last axis.
        PyTorch, Optax: only logits are accepted.
        PyTorch: ignore_index defaults to -100.

    References:
        Bridle 1990, "Probabilistic Interpretation of Feedforward Classification Network Outputs".
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
    """Compute the Kullback-Leibler divergence of two distributions.

        sum y log(y / p)          y, p: clipped to [1e-7, 1]

    over the last axis: the cross-entropy without the entropy of the target.

    Args:
        y_true: y, probabilities of shape [batch, ..., K].
        y_pred: p, probabilities of that shape; the gradient is 0 outside the bounds.

    Returns:
        The loss of each example, shape [batch, ...].

    Raises:
        ValueError, TypeError: shapes or dtypes do not match.

    Example:
        >>> tl.losses.kl_divergence([[0.5, 0.5]], [[0.25, 0.75]]).numpy().round(3)
        array([0.144], dtype=float32)

    Differences:
        PyTorch, Optax: log p is expected instead of p, nothing is clipped, and a y of 0 adds 0.
        PyTorch: no sum is taken.

    References:
        Kullback and Leibler 1951, "On Information and Sufficiency".
    """
    y, p = match_shapes(y_true, y_pred)
    y, p = tf.clip_by_value(y, EPSILON, 1), tf.clip_by_value(p, EPSILON, 1)
    return tf.reduce_sum(y * tf.math.log(y / p), axis=-1)


def binary_entropy(y: Tensor, p: Tensor) -> Tensor:
    """Return -(y log p + (1 - y) log(1 - p)) of each element, with p clipped."""
    p = clip(p)
    return -(y * tf.math.log(p) + (1 - y) * tf.math.log(1 - p))


def normalized(p: Tensor, axis: int) -> Tensor:
    """Divide probabilities by their sum, then clip them."""
    return clip(p / tf.reduce_sum(p, axis=axis, keepdims=True))


def binary_smoothed(y: Tensor, label_smoothing: float) -> Tensor:
    """Smooth binary labels: y (1 - s) + s / 2."""
    check_number("label_smoothing", label_smoothing, at_least=0, at_most=1)
    return y * (1 - label_smoothing) + label_smoothing / 2


def categorical_smoothed(y: Tensor, label_smoothing: float, axis: int) -> Tensor:
    """Smooth labels of K classes: y (1 - s) + s / K."""
    check_number("label_smoothing", label_smoothing, at_least=0, at_most=1)
    return y * (1 - label_smoothing) + label_smoothing / size_of(y, axis)
