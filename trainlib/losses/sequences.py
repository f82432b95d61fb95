"""Connectionist temporal classification: the loss of a sequence whose alignment is unknown.

    l'        = the n labels, with blanks between them and at both ends; 2 n + 1 places
    a_1(s)    = log p_1(l'_s)                                      s = 1, 2
    a_t(s)    = log p_t(l'_s) + log(e^a_(t-1)(s) + e^a_(t-1)(s-1) [+ e^a_(t-1)(s-2)])
    loss      = -log(e^a_T(2n + 1) + e^a_T(2n))

The term in brackets skips a blank: it is there where l'_s is a label and not l'_(s-2).
"""

from __future__ import annotations

import tensorflow as tf

from trainlib.core.types import Tensor
from trainlib.losses.inputs import predictions

BLANK = 0
LOG_ZERO = -1e30
"""For log 0: finite, so that differences and gradients are."""


def ctc(y_true: Tensor, y_pred: Tensor) -> Tensor:
    """-log p(y_true), summed over all alignments of the labels to the time steps.

    For speech and handwriting: an output at every time step, labels without their times. Where
    the steps are too few for the labels the loss is infinite and its gradient 0.

    Args:
        y_true: classes 1..K-1 of shape [batch, length], padded by 0 at the end.
        y_pred: logits of shape [batch, time, K]; class 0 is the blank.

    Raises:
        ValueError, TypeError: shapes or dtypes that do not go together.

    Differs from: Keras, which runs in float32 always, and gives labels that are too many a loss
    of about 700 with a gradient. torch.ctc_loss takes log-probabilities of shape
    [time, batch, K] and the lengths, and has a gradient of NaN there. optax.ctc_loss takes
    paddings.

    Reference: Graves, Fernandez, Gomez and Schmidhuber 2006, "Connectionist Temporal
    Classification: Labelling Unsegmented Sequence Data with Recurrent Neural Networks".
    """
    z, labels = predictions(y_pred), tf.convert_to_tensor(y_true)
    if z.shape.rank != 3 or not labels.shape.is_compatible_with([z.shape[0], None]):
        raise ValueError(
            "ctc needs y_pred of shape [batch, time, K] and y_true of shape [batch, length]; got "
            f"{list(z.shape)} and {list(labels.shape)}"
        )
    places, skips = _places(tf.cast(labels, tf.int32))
    log_p = tf.gather(tf.nn.log_softmax(z), places, axis=2, batch_dims=1)
    length = tf.math.count_nonzero(labels, axis=-1, dtype=tf.int32)
    last = _forward(tf.transpose(log_p, [1, 0, 2]), skips)
    ends = tf.stack([2 * length, tf.maximum(2 * length - 1, 0)], axis=-1)
    log_ends = tf.gather(last, ends, batch_dims=1)
    # Without labels both ends are the one blank.
    ended = tf.stack([tf.ones_like(length), length], axis=-1) > 0
    loss = -tf.reduce_logsumexp(_only(ended, log_ends), axis=-1)
    possible = loss < -LOG_ZERO / 2
    return tf.where(possible, loss, tf.fill(tf.shape(loss), tf.constant(float("inf"), loss.dtype)))


def _places(labels: Tensor) -> tuple[Tensor, Tensor]:
    """The labels with blanks between and around them, and where the blank before may be skipped."""
    blanks = tf.fill(tf.shape(labels), BLANK)
    with_blanks = tf.reshape(tf.stack([blanks, labels], axis=-1), [tf.shape(labels)[0], -1])
    places = tf.pad(with_blanks, [[0, 0], [0, 1]], constant_values=BLANK)
    before = tf.pad(places, [[0, 0], [2, 0]], constant_values=BLANK)[:, : tf.shape(places)[1]]
    return places, (places != BLANK) & (places != before)


def _forward(log_p: Tensor, skips: Tensor) -> Tensor:
    """a_T of log p, shape [time, batch, places]."""

    def step(a: Tensor, log_p_t: Tensor) -> Tensor:
        skipping = _only(skips, _later(a, 2))
        return log_p_t + tf.reduce_logsumexp(tf.stack([a, _later(a, 1), skipping]), axis=0)

    # One step before the first, everything is at the first blank; the second place is one later.
    first = tf.range(tf.shape(log_p)[2])[tf.newaxis] == 0
    start = _only(first & tf.ones_like(skips), tf.zeros_like(log_p[0]))
    return tf.foldl(step, log_p, initializer=start)


def _later(a: Tensor, places: int) -> Tensor:
    """a moved on by so many places."""
    moved = tf.pad(a, [[0, 0], [places, 0]], constant_values=LOG_ZERO)
    return moved[:, : tf.shape(a)[1]]


def _only(mask: Tensor, a: Tensor) -> Tensor:
    """a under the mask, log 0 elsewhere."""
    return tf.where(mask, a, tf.fill(tf.shape(a), tf.constant(LOG_ZERO, a.dtype)))
