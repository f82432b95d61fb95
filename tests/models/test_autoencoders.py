"""`autoencoder` leads to a code and back to the shape of its input."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import trainlib as tl
from trainlib.models import autoencoder


def names(model):
    return [layer.name for layer in model.layers]


def test_the_decoder_has_the_widths_of_the_encoder_in_reverse():
    model = autoencoder((8, 6), 48, hidden=(7, 5, 3))
    dense = [x for x in model.layers if isinstance(x, keras.layers.Dense)]
    assert [x.units for x in dense] == [7, 5, 3, 5, 7, 48]
    assert model.get_layer("code").output.shape == (None, 3)
    assert model.output_shape == (None, 8, 6)


def test_a_convolutional_one_halves_the_image_and_doubles_it_again():
    model = autoencoder((8, 12, 3), 288, "sigmoid", convolutional=True, depth=2, filters=4)
    assert model.get_layer("code").output.shape == (None, 2, 3, 8)
    assert model.output_shape == (None, 8, 12, 3)
    expected = (9 * 3 * 4 + 4) + (9 * 4 * 8 + 8) + (9 * 8 * 4 + 4) + (9 * 4 * 3 + 3)
    assert model.count_params() == expected


def test_inputs_are_disturbed_after_the_targets():
    scale = keras.layers.Rescaling(0.5, name="scale")
    model = autoencoder(
        (4,), 4, None, [scale], hidden=(2,), dropout=0.3, dropout_kind="gaussian_noise"
    )
    assert names(model)[:3] == ["scale", "targets", "disturbed_input"]
    assert type(model.get_layer("disturbed_input")) is keras.layers.GaussianNoise
    x = np.ones((2, 4), "float32")
    targets = keras.Model(model.inputs[0], model.get_layer("targets").output)(x, training=True)
    np.testing.assert_array_equal(targets, x / 2)


def test_it_learns_to_reconstruct_its_inputs():
    keras.utils.set_random_seed(0)
    x = np.random.default_rng(0).normal(size=(64, 2)).astype("float32")
    x = x @ np.array([[1, 0, 1, 2], [0, 1, -1, 1]], "float32")
    model = autoencoder((4,), 4, hidden=(2,), activation="linear")
    trainer = tl.Trainer(model, "mse", tl.adam(0.05), execution="graph")
    trainer.fit((x, x), batch_size=64, epochs=200, verbose=0)
    assert trainer.evaluate((x, x))["loss"] < 0.01 * x.var()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"outputs": 10}, "outputs of autoencoder must be the 48 values of its input, got 10"),
        ({"hidden": ()}, "hidden must hold at least the width of the code"),
        ({"convolutional": True}, "autoencoder with convolutional and depth=2 .* multiples of 4"),
        ({"convolutional": True, "depth": 1, "activation": "maxout"}, "activation maxout is for"),
    ],
)
def test_what_it_cannot_be_is_refused(options, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        autoencoder(**{"input_shape": (8, 6), "outputs": 48} | options)
