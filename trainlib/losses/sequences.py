"""Connectionist temporal classification (CTC): the loss of label sequences without alignment."""

from __future__ import annotations

import tensorflow as tf

from trainlib.core.types import Tensor
from trainlib.losses.inputs import predictions

BLANK = 0
LOG_ZERO = -1e30
"""Stands for log 0: finite, so that differences and gradients are finite."""


def ctc(y_true: Tensor, y_pred: Tensor) -> Tensor:
    """Compute the CTC loss: -log p of a label sequence, summed over its alignments.

        l'        = the n labels, with blanks between them and at both ends; 2 n + 1 positions
        a_1(s)    = log p_1(l'_s)                                      s = 1, 2
        a_t(s)    = log p_t(l'_s) + log(e^a_(t-1)(s) + e^a_(t-1)(s-1) [+ e^a_(t-1)(s-2)])
        loss      = -log(e^a_T(2n + 1) + e^a_T(2n))

    The term in brackets skips a blank: it is present where l'_s is a label that differs from
    l'_(s-2). The loss is infinite, with gradient 0, if there are too few time steps for the labels.

    Args:
        y_true: classes 1..K-1 of shape [batch, length], padded with 0 at the end.
        y_pred: logits of shape [batch, time, K]; class 0 is the blank.

    Returns:
        The loss of each example, shape [batch].

    Raises:
        ValueError, TypeError: shapes or dtypes do not match.

    Example:
        >>> tl.losses.ctc([[1, 2]], tf.zeros([1, 3, 3])).numpy().round(3)
        array([1.686], dtype=float32)

    Differences:
        Keras: always float32; too many labels give a loss of about 700 and a gradient.
        PyTorch: `ctc_loss` takes log-probabilities of shape [time, batch, K] and the lengths; too
            many labels give a gradient of NaN.
        Optax: takes paddings.

    References:
        Graves, Fernández, Gomez and Schmidhuber 2006, "Connectionist Temporal Classification:
        Labelling Unsegmented Sequence Data with Recurrent Neural Networks".
    """
    z, labels = predictions(y_pred), tf.convert_to_tensor(y_true)
    if z.shape.rank != 3 or not labels.shape.is_compatible_with([z.shape[0], None]):
        raise ValueError(
            "ctc needs y_pred of shape [batch, time, K] and y_true of shape [batch, length]; got "
            f"{list(z.shape)} and {list(labels.shape)}"
        )
    positions, skips = _positions(tf.cast(labels, tf.int32))
    log_p = tf.gather(tf.nn.log_softmax(z), positions, axis=2, batch_dims=1)
    length = tf.math.count_nonzero(labels, axis=-1, dtype=tf.int32)
    last = _forward(tf.transpose(log_p, [1, 0, 2]), skips)
    ends = tf.stack([2 * length, tf.maximum(2 * length - 1, 0)], axis=-1)
    log_ends = tf.gather(last, ends, batch_dims=1)
    # Without labels both ends are the single blank.
    ended = tf.stack([tf.ones_like(length), length], axis=-1) > 0
    loss = -tf.reduce_logsumexp(_where(ended, log_ends), axis=-1)
    possible = loss < -LOG_ZERO / 2
    return tf.where(possible, loss, tf.fill(tf.shape(loss), tf.constant(float("inf"), loss.dtype)))


def _positions(labels: Tensor) -> tuple[Tensor, Tensor]:
    """Insert blanks around the labels; return also where the blank before may be skipped."""
    blanks = tf.fill(tf.shape(labels), BLANK)
    with_blanks = tf.reshape(tf.stack([blanks, labels], axis=-1), [tf.shape(labels)[0], -1])
    positions = tf.pad(with_blanks, [[0, 0], [0, 1]], constant_values=BLANK)
    before = tf.pad(positions, [[0, 0], [2, 0]], constant_values=BLANK)[:, : tf.shape(positions)[1]]
    return positions, (positions != BLANK) & (positions != before)


def _forward(log_p: Tensor, skips: Tensor) -> Tensor:
    """Return a_T of log p, shape [time, batch, positions]."""

    def step(a: Tensor, log_p_t: Tensor) -> Tensor:
        skipping = _where(skips, _shifted(a, 2))
        return log_p_t + tf.reduce_logsumexp(tf.stack([a, _shifted(a, 1), skipping]), axis=0)

    # Before the first step all probability is at the first blank; one step reaches the second.
    first = tf.range(tf.shape(log_p)[2])[tf.newaxis] == 0
    start = _where(first & tf.ones_like(skips), tf.zeros_like(log_p[0]))
    return tf.foldl(step, log_p, initializer=start)


def _shifted(a: Tensor, count: int) -> Tensor:
    """Shift a along the positions, filling with log 0."""
    shifted = tf.pad(a, [[0, 0], [count, 0]], constant_values=LOG_ZERO)
    return shifted[:, : tf.shape(a)[1]]


def _where(mask: Tensor, a: Tensor) -> Tensor:
    """Return a under the mask and log 0 elsewhere."""
    return tf.where(mask, a, tf.fill(tf.shape(a), tf.constant(LOG_ZERO, a.dtype)))
