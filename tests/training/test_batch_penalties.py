"""Penalties of a batch that its parts on replicas can give: means over the examples."""

from __future__ import annotations

import keras
import pytest
import tensorflow as tf

from trainlib.training.batch_penalties import check_penalties

ROWS = 6
MEANS = {
    "mean": tf.reduce_mean,
    "mean over examples of sums": lambda x: tf.reduce_mean(tf.reduce_sum(x, -1)),
    "sum of means over examples": lambda x: 0.1 * tf.reduce_sum(tf.reduce_mean(x, 0)),
    "divided": lambda x: tf.reduce_sum(x) / tf.cast(tf.shape(x)[0], tf.float32),
    "divided by a number": lambda x: tf.reduce_sum(x) / ROWS,
    "multiplied": lambda x: tf.reduce_sum(x) * (1 / (2 * ROWS)),
    "of keras": lambda x: keras.ops.mean(keras.ops.sum(keras.ops.square(x), axis=1)),
    "of no batch": lambda x: tf.reduce_sum(tf.ones([ROWS, 2])),
    "beside a sum": lambda x: beside_a_sum(x)[1],
}
OTHERS = {
    "of a custom gradient": lambda x: beside_a_sum(x)[0],
    "sum": tf.reduce_sum,
    "weighted sum": lambda x: 0.5 * tf.reduce_sum(tf.square(x)),
    "sum over examples of means": lambda x: tf.reduce_sum(tf.reduce_mean(x, -1)) + 1.0,
    "half the squares": tf.nn.l2_loss,
    "largest": tf.reduce_max,
    "of keras": keras.regularizers.L2(0.1),
}


@tf.custom_gradient
def beside_a_sum(x):
    return (tf.reduce_sum(x), tf.reduce_mean(x)), lambda *upstream: None


def check(penalty):
    def traced(x):
        check_penalties([penalty(x)], [x])
        return x

    tf.function(traced, autograph=False).get_concrete_function(tf.TensorSpec([ROWS, 3]))


@pytest.mark.parametrize("name", MEANS)
def test_means_over_the_examples_are_accepted(name):
    check(MEANS[name])


@pytest.mark.parametrize("name", OTHERS)
def test_sums_over_the_examples_are_refused(name):
    with pytest.raises(ValueError, match="^the model adds a penalty that sums over its batch, but"):
        check(OTHERS[name])
