"""Calls of layers go through a function while a model is called, and no longer."""

from __future__ import annotations

import threading

import keras
import numpy as np
import pytest

from trainlib.training.layer_calls import (
    calls_through,
    method_replaced,
    takes_training,
    without_training,
)

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


def test_threads_that_take_turns_call_their_own_methods():
    """As replicas are traced: each waits within its forward pass for the others."""
    layer, inside, results = keras.layers.Dense(1), threading.Barrier(2), {}
    plain = np.asarray(layer(X))

    def run(factor):
        def through(_, call, x):
            return factor * call(x)

        with calls_through([layer], through):
            inside.wait()
            results[factor] = np.asarray(layer(X))
            inside.wait()

    threads = [threading.Thread(target=run, args=(factor,)) for factor in (2, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for factor, found in results.items():
        np.testing.assert_allclose(found, factor * plain, rtol=1e-6)
    np.testing.assert_array_equal(layer(X), plain)
    assert "call" not in vars(layer)


def test_methods_are_replaced_one_over_the_other():
    layer = keras.layers.Dense(1)
    plain = np.asarray(layer(X))
    with (
        method_replaced(layer, "call", lambda call: lambda x: call(x) + 1),
        method_replaced(layer, "call", lambda call: lambda x: 2 * call(x)),
    ):
        np.testing.assert_allclose(layer(X), 2 * (plain + 1), rtol=1e-6)
    np.testing.assert_array_equal(layer(X), plain)


def test_layers_that_take_the_mode_are_known():
    assert takes_training(keras.layers.Dropout(0.5))
    assert not takes_training(keras.layers.Flatten())
