"""Calls of layers go through a function while a model is called, and no longer."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from trainlib.training.layer_calls import calls_through, takes_training, without_training

X = np.ones([2, 3], "float32")


def test_a_layer_is_kept_in_inference_mode_within_the_block_only():
    layer = keras.layers.BatchNormalization()
    model = keras.Sequential([keras.Input((3,)), layer])
    plain = np.asarray(model(X, training=False))
    with calls_through([layer, layer], without_training):
        np.testing.assert_array_equal(model(X, training=True), plain)
    assert (np.asarray(model(X, training=True)) != plain).any()


def test_the_calls_are_restored_after_an_error():
    layer = keras.layers.Dense(1)
    layer(X)
    with pytest.raises(KeyError), calls_through([layer], lambda *args: {}["missing"]):
        layer(X)
    assert layer(X).shape == (2, 1)


def test_layers_that_take_the_mode_are_known():
    assert takes_training(keras.layers.Dropout(0.5))
    assert not takes_training(keras.layers.Flatten())
