"""The order of examples: a pure function of seed, epoch and position."""

from __future__ import annotations

import tensorflow as tf

from trainlib.base import Tensor


def epoch_order(seed: Tensor, epoch: Tensor, size: int) -> Tensor:
    """The permutation of 0..size-1 in which an epoch takes its examples, int64 [size].

    The same on every device and in every release of TensorFlow.
    """
    seeds = tf.stack([tf.cast(seed, tf.int64), tf.cast(epoch, tf.int64)])
    draws = tf.random.stateless_uniform(
        [size], seeds, minval=None, maxval=None, dtype=tf.int64, alg="philox"
    )
    return tf.cast(tf.argsort(draws, stable=True), tf.int64)
