"""A model for each layer that normalizes."""

from __future__ import annotations

from keras import layers

from helpers.keras_models.table import IMAGES, NUMBERS, ROWS, SEQUENCES, STEPS, model, stack


@model(ROWS, NUMBERS)
def batch_normalization():
    hidden = layers.Dense(5), layers.BatchNormalization(momentum=0.7)
    return stack(*hidden, layers.Activation("tanh"), layers.Dense(1), shape=(4,))


@model(ROWS, NUMBERS)
def batch_normalization_alone():
    first = layers.BatchNormalization(center=False, scale=False, epsilon=0.1)
    return stack(first, layers.Dense(1), layers.BatchNormalization(), shape=(4,))


@model(SEQUENCES, STEPS)
def batch_normalization_of_each_step():
    hidden = layers.Dense(3), layers.BatchNormalization()
    each = (layers.TimeDistributed(layer) for layer in (*hidden, layers.Dense(1)))
    return stack(*each, shape=(5, 3))


@model(SEQUENCES, NUMBERS)
def layer_normalization():
    hidden = layers.LayerNormalization(axis=[1, 2]), layers.Flatten()
    return stack(*hidden, layers.Dense(1), shape=(5, 3))


@model(IMAGES, NUMBERS)
def group_normalization():
    hidden = layers.Conv2D(4, 2), layers.GroupNormalization(2), layers.Flatten()
    return stack(*hidden, layers.Dense(1), shape=(6, 6, 2))


@model(ROWS, NUMBERS)
def unit_and_rms_normalization():
    hidden = layers.UnitNormalization(), layers.Dense(4), layers.RMSNormalization()
    return stack(*hidden, layers.Dense(1), shape=(4,))


@model(ROWS, NUMBERS)
def spectral_normalization():
    hidden = layers.SpectralNormalization(layers.Dense(4, activation="tanh"))
    return stack(hidden, layers.Dense(1), shape=(4,))


@model(ROWS, NUMBERS)
def adapted_normalization():
    normalization = layers.Normalization()
    normalization.adapt(ROWS * 3 + 1)
    return stack(normalization, layers.Dense(1), shape=(4,))
