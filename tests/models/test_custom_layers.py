"""`FourierFeatures`; the other custom layers are tested with the models that use them."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

import trainlib as tl
from trainlib.models.custom_layers import FourierFeatures

X = np.random.default_rng(0).normal(size=(6, 4)).astype("float32")


@pytest.mark.parametrize("columns", [None, [3, 1]])
def test_sines_and_cosines_of_combinations_of_the_columns_follow_the_columns(columns):
    layer = FourierFeatures(5, scale=0.5, columns=columns)
    y = layer(X).numpy()
    x = X if columns is None else X[:, columns]
    angles = 2 * np.pi * x @ layer.frequencies.numpy()
    expected = np.concatenate([X, np.sin(angles), np.cos(angles)], axis=1)
    np.testing.assert_allclose(y, expected, atol=1e-5)
    assert layer.compute_output_shape((None, 4)) == (None, y.shape[1]) == (None, 14)


def test_frequencies_are_normal_with_the_scale_and_follow_the_seed():
    drawn = []
    for seed in (1, 1, 2):
        keras.utils.set_random_seed(seed)
        layer = FourierFeatures(4000, scale=3.0)
        layer.build((None, 2))
        drawn.append(layer.frequencies.numpy())
    np.testing.assert_array_equal(drawn[0], drawn[1])
    assert np.any(drawn[0] != drawn[2])
    assert drawn[0].mean() == pytest.approx(0, abs=0.2)
    assert drawn[0].std() == pytest.approx(3, rel=0.05)


def test_half_precision_computes_angles_in_float32():
    layer, half = FourierFeatures(5), FourierFeatures(5, dtype="mixed_bfloat16")
    layer.build(X.shape)
    half.build(X.shape)
    half.frequencies.assign(layer.frequencies)
    x = keras.ops.cast(X, "bfloat16")
    y = half(x)
    assert y.dtype == "bfloat16"
    # The sums are of the rounded inputs, and only the waves are rounded again, to 2^-9.
    frequencies = keras.ops.cast(keras.ops.cast(layer.frequencies, "bfloat16"), "float32").numpy()
    angles = 2 * np.pi * keras.ops.cast(x, "float32").numpy() @ frequencies
    found = keras.ops.cast(y, "float32").numpy()[:, 4:]
    np.testing.assert_allclose(found, np.hstack([np.sin(angles), np.cos(angles)]), atol=2**-8)


def test_it_is_saved_and_loaded(tmp_path):
    model = tl.models.mlp((4,), 2, hidden=(3,), fourier_features=3, fourier_columns="1-2")
    model.save(tmp_path / "model.keras")
    loaded = tl.models.load_model(str(tmp_path / "model.keras"))
    layer = loaded.get_layer("fourier_features")
    assert (layer.features, layer.scale, layer.columns) == (3, 1.0, [1, 2])
    np.testing.assert_array_equal(loaded(X), model(X))


def test_a_network_learns_with_it_what_varies_fast():
    keras.utils.set_random_seed(0)
    x = np.linspace(-1, 1, 400, dtype="float32")[:, None]
    y = np.sin(20 * x[:, 0])
    model = tl.models.mlp((1,), 1, hidden=(32,), fourier_features=16, fourier_scale=3.0)
    before = model.get_layer("fourier_features").frequencies.numpy()
    trainer = tl.Trainer(model, "mse", tl.adam(0.01), execution="graph")
    history = trainer.fit((x, y), batch_size=100, epochs=40, verbose=0)
    assert history[-1]["loss"] < 0.01 * y.var()
    trained = next(w for w in tf.nest.flatten(trainer.weights) if w.shape == (1, 16))
    assert np.any(trained != before)
