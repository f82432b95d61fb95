"""What a model may compute from its part of a batch: penalties that are means over the examples."""

from __future__ import annotations

import keras
import pytest
import tensorflow as tf

from trainlib.training.replica_checks import check_penalties, check_state_of_part

ROWS = 16
WIDTH = 16
"""As many as there are rows, so that lengths of axes do not tell which is that of the examples."""


def gram(x):
    return tf.matmul(x, x, transpose_a=True)


MEANS = {
    "mean": tf.reduce_mean,
    "mean over examples of sums": lambda x: tf.reduce_mean(tf.reduce_sum(x, -1)),
    "sum of means over examples": lambda x: 0.1 * tf.reduce_sum(tf.reduce_mean(x, 0)),
    "squares of means": lambda x: tf.reduce_sum(tf.square(tf.reduce_mean(x, 0))),
    "variance": lambda x: tf.reduce_sum(tf.math.reduce_variance(x, 0)),
    "mean over parts of examples": lambda x: tf.reduce_sum(
        tf.reduce_mean(tf.nn.softmax(tf.reshape(x, [-1, 4])), 0)
    ),
    "after a layer": lambda x: tf.reduce_mean(tf.square(x @ tf.ones([WIDTH, ROWS]) + 1.0)),
    "divided": lambda x: tf.reduce_sum(x) / tf.cast(tf.shape(x)[0], tf.float32),
    "divided by a number": lambda x: 0.1 * tf.reduce_sum(x) / ROWS,
    "a sum of sums divided by a number": lambda x: (
        (tf.reduce_sum(x) + 0.1 * tf.reduce_sum(tf.square(x)) - tf.nn.l2_loss(x)) / ROWS
    ),
    "divided by the number of values": lambda x: tf.nn.l2_loss(x) / tf.cast(tf.size(x), x.dtype),
    "of keras": lambda x: keras.ops.mean(keras.ops.sum(keras.ops.square(x), axis=1)),
    "of no batch": lambda x: tf.reduce_sum(tf.ones([ROWS, 2])),
    "beside a sum": lambda x: beside_a_sum(x)[1],
}
OTHERS = {
    "of a custom gradient": lambda x: beside_a_sum(x)[0],
    "sum": tf.reduce_sum,
    "weighted sum": lambda x: 0.5 * tf.reduce_sum(tf.square(x)),
    "sum with a weight of 1 / rows": lambda x: 1 / ROWS * tf.reduce_sum(x),
    "sum with a small weight": lambda x: 1e-4 * tf.reduce_sum(x),
    "sum with a large divisor": lambda x: tf.reduce_sum(x) / (625.00002 * ROWS),
    "sum divided by numbers": lambda x: tf.reduce_sum(tf.reduce_sum(x, 0) / ([ROWS, 1] * 8)),
    "sum and a number, divided": lambda x: (tf.reduce_sum(x) + 1.0) / ROWS,
    "sum and a sum of features, divided": lambda x: (
        (tf.reduce_sum(x, 0) + tf.reduce_sum(x, 1)) / ROWS
    ),
    "loss of keras": lambda x: keras.losses.MeanSquaredError()(x, 0.0 * x),
    "sum divided by another axis": lambda x: (
        tf.reduce_sum(tf.concat([x, x], 1)) / tf.cast(tf.shape(tf.concat([x, x], 1))[1], x.dtype)
    ),
    "sum of a matrix": lambda x: tf.reduce_sum(tf.reshape(x, [-1, 4])),
    "sum over examples of means": lambda x: tf.reduce_sum(tf.reduce_mean(x, -1)) + 1.0,
    "mean over features of sums": lambda x: tf.reduce_mean(tf.reduce_sum(x, 0)),
    "mean over features": lambda x: tf.reduce_sum(tf.reduce_mean(tf.transpose(x), 0)),
    "products": lambda x: tf.reduce_sum(gram(x)),
    "mean of products": lambda x: tf.reduce_mean(tf.square(gram(x) - tf.eye(WIDTH))),
    "mean of products in a row": lambda x: tf.reduce_mean(tf.reshape(gram(x), [-1])),
    "products by letters": lambda x: tf.reduce_mean(tf.einsum("bi,bj->ij", x, x)),
    "divided squares of products": lambda x: tf.reduce_sum(tf.square(gram(x))) / ROWS,
    "half the squares": tf.nn.l2_loss,
    "largest": tf.reduce_max,
    "of keras": keras.regularizers.L2(0.1),
}


@tf.custom_gradient
def beside_a_sum(x):
    return (tf.reduce_sum(x), tf.reduce_mean(x)), lambda *upstream: None


def check(penalty):
    def traced(x):
        check_penalties([penalty(x)], x)
        return x

    tf.function(traced, autograph=False).get_concrete_function(tf.TensorSpec([ROWS, WIDTH]))


@pytest.mark.parametrize("name", MEANS)
def test_means_over_the_examples_are_accepted(name):
    check(MEANS[name])


@pytest.mark.parametrize("name", OTHERS)
def test_sums_over_the_examples_are_refused(name):
    with pytest.raises(ValueError, match="^the model adds a penalty that is not a mean over its"):
        check(OTHERS[name])


def traced_state(new_state):
    def traced(x):
        check_state_of_part(new_state(x), x)
        return x

    tf.function(traced, autograph=False).get_concrete_function(tf.TensorSpec([ROWS, WIDTH]))


def test_state_that_does_not_depend_on_the_batch_is_accepted():
    traced_state(lambda x: {"count": tf.ones([]) + 1, "seed_generator_state_0": x[0]})


def test_state_that_depends_on_the_batch_is_refused():
    with pytest.raises(ValueError, match="^mean: the forward pass assigns this variable from its"):
        traced_state(lambda x: {"mean": tf.reduce_mean(x)})
