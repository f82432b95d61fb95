"""Lambdas, custom layers, penalties, constraints, and other dtypes."""

from __future__ import annotations

import contextlib

import keras
from keras import layers, ops

from helpers.keras_models.table import NUMBERS, ROWS, SEQUENCES, TOKENS, model, stack


@keras.saving.register_keras_serializable("tests")
class Scale(layers.Layer):
    """A layer with a weight and a penalty that the batch determines."""

    def build(self, input_shape):
        self.scale = self.add_weight(shape=(input_shape[-1],), initializer="ones", name="scale")

    def call(self, x):
        y = x * self.scale
        self.add_loss(0.1 * ops.mean(ops.square(y)))
        return y


@keras.saving.register_keras_serializable("tests")
class Centered(layers.Layer):
    """A layer that subtracts a moving mean which it assigns itself, and counts its calls."""

    def build(self, input_shape):
        zeros = {"initializer": "zeros", "trainable": False}
        self.mean = self.add_weight(shape=(input_shape[-1],), name="mean", **zeros)
        self.calls = self.add_weight(shape=(), name="calls", **zeros)

    def call(self, x, training=False):
        if training:
            self.mean.assign(0.75 * self.mean + 0.25 * ops.mean(x, axis=0))
            self.calls.assign(self.calls + 1.0)
        return x - self.mean


@contextlib.contextmanager
def policy(name):
    """Build layers in a dtype policy."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def normalized_net(outputs="float32"):
    """A net with batch statistics, whose last layer is of a dtype."""
    hidden = layers.Dense(8, activation="tanh"), layers.BatchNormalization()
    return stack(*hidden, layers.Dense(1, dtype=outputs), shape=(4,))


@model(ROWS, NUMBERS)
def lambda_layer():
    return stack(layers.Lambda(lambda x: x * abs(x)), layers.Dense(1), shape=(4,))


@model(ROWS, NUMBERS)
def operations_between_layers():
    inputs = keras.Input((4,))
    hidden = layers.Dense(4)(inputs)
    return keras.Model(inputs, ops.sum(ops.sin(hidden) * inputs, -1, keepdims=True) / 2)


@model(ROWS, NUMBERS)
def custom_layer_with_a_penalty_of_the_batch():
    return stack(layers.Dense(4), Scale(), layers.Dense(1), shape=(4,))


@model(ROWS, NUMBERS)
def custom_layer_with_state():
    return stack(Centered(), layers.Dense(4), Centered(), layers.Dense(1), shape=(4,))


@model(ROWS, NUMBERS)
def penalties():
    dense = layers.Dense(
        4, kernel_regularizer="l2", activity_regularizer=keras.regularizers.L1(0.1)
    )
    more = layers.ActivityRegularization(l2=0.05)
    last = layers.Dense(1, bias_regularizer="l1")
    return stack(dense, more, last, shape=(4,))


@model(ROWS, -NUMBERS)
def constraints():
    dense = layers.Dense(4, kernel_constraint="non_neg", bias_constraint="unit_norm")
    return stack(dense, layers.PReLU(), layers.Dense(1, kernel_constraint="max_norm"), shape=(4,))


@model(TOKENS, NUMBERS)
def constrained_embedding():
    embedding = layers.Embedding(12, 3, embeddings_constraint="unit_norm")
    return stack(embedding, layers.Flatten(), layers.Dense(1), shape=(6,))


@model(SEQUENCES, NUMBERS)
def einsum_and_reshapes():
    hidden = layers.EinsumDense("abc,cd->abd", (None, 4), bias_axes="d"), layers.Permute((2, 1))
    flat = layers.Reshape((20,)), layers.RepeatVector(2), layers.Flatten()
    return stack(*hidden, *flat, layers.Dense(1), shape=(5, 3))


@model(ROWS * 100 + 50, NUMBERS)
def inputs_that_are_scaled_and_binned():
    inputs = keras.Input((4,))
    scaled = layers.Rescaling(0.01, offset=-0.5)(inputs)
    bins = layers.Discretization(bin_boundaries=[0.0, 100.0], output_mode="one_hot")(inputs)
    joined = layers.Concatenate()([scaled, layers.Flatten()(bins)])
    return keras.Model(inputs, layers.Dense(1)(joined))


@model(
    ROWS.astype("float64"),
    NUMBERS.astype("float64"),
    loss=keras.losses.MeanSquaredError(dtype="float64"),
    ours="mean_squared_error",
    tolerance=5e-7,  # of the mean of losses, which Keras keeps in float32
)
def float64():
    with policy("float64"):
        return normalized_net("float64")


@model(ROWS, NUMBERS, tolerance=0.02)
def mixed_bfloat16():
    with policy("mixed_bfloat16"):
        return normalized_net()


@model(ROWS, NUMBERS, tolerance=0.005)
def mixed_float16():
    with policy("mixed_float16"):
        return normalized_net()
