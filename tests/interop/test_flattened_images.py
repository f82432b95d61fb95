"""Which layers take flattened images, and models of which that is unknown."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

from trainlib.interop import load_parameters
from trainlib.interop.flattened_images import flattened_images

IMAGE = (3, 2, 4)


def joined(image):
    """A model of images and two numbers."""
    x, table = keras.Input(image), keras.Input((2,))
    both = layers.Concatenate()([layers.Flatten()(x), table])
    return keras.Model([x, table], layers.Dense(3, name="last")(both))


def test_the_images_end_at_the_first_dense_layer():
    model = keras.Sequential(
        [
            keras.Input(IMAGE),
            layers.Flatten(),
            layers.BatchNormalization(name="norm"),
            layers.LeakyReLU(),
            layers.Dense(24, name="first"),
            layers.BatchNormalization(name="other"),
            layers.Dense(3, name="last"),
        ]
    )
    found = flattened_images(model)
    assert {x.name: found[id(x)] for x in model.layers if id(x) in found} == {
        "norm": IMAGE,
        "first": IMAGE,
    }


@pytest.mark.parametrize("image", [(1, 1, 24), (3, 2, 1)])
def test_images_of_one_pixel_or_channel_are_in_one_order(image):
    assert flattened_images(joined(image)) == {}


def test_flattened_images_that_are_joined_are_refused():
    model = joined(IMAGE)
    arrays = {"last.weight": np.ones((3, 26)), "last.bias": np.ones(3)}
    with pytest.raises(ValueError, match="^layer 'last' takes flattened images after a layer that"):
        load_parameters(model, arrays)
    np.testing.assert_array_equal(model.get_layer("last").bias, np.zeros(3))


@pytest.mark.parametrize(
    "change",
    [
        [keras.Input((2, 3, 4)), layers.Permute((2, 1, 3)), layers.Flatten()],
        [keras.Input((2, 3, 4)), layers.Permute((2, 1, 3)), layers.Conv2D(4, 1), layers.Flatten()],
        [keras.Input((24,)), layers.Reshape(IMAGE), layers.Conv2D(4, 1)],
    ],
)
def test_images_of_values_in_another_order_are_refused(change):
    model = keras.Sequential([*change, layers.Dense(3, name="last")])
    with pytest.raises(ValueError, match="^layer '(last|conv2d.*)' takes flattened images after a"):
        flattened_images(model)


def test_numbers_may_become_images_of_one_channel():
    end = [layers.Conv2D(4, 1), layers.Flatten(), layers.Dense(3, name="last")]
    model = keras.Sequential([keras.Input((3, 2)), layers.Reshape((3, 2, 1)), *end])
    assert flattened_images(model) == {id(model.get_layer("last")): IMAGE}


def test_a_layer_that_takes_images_in_two_orders_is_refused():
    x, table = keras.Input(IMAGE), keras.Input((24,))
    dense = layers.Dense(3, name="shared")
    model = keras.Model([x, table], [dense(layers.Flatten()(x)), dense(table)])
    with pytest.raises(ValueError, match="^layer 'shared' takes flattened images"):
        flattened_images(model)


class Own(keras.Model):
    """A model with its own call."""

    def __init__(self, padding, pooling):
        super().__init__(name="own")
        self.conv = layers.Conv2D(4, 3, strides=2, padding=padding, name="conv")
        self.pooling = pooling
        self.head = layers.Dense(5, name="head")

    def call(self, x):
        return self.head(self.pooling(self.conv(x)))


@pytest.mark.parametrize(
    ("padding", "pooling", "message"),
    [
        ("valid", layers.Flatten(name="flat"), "^'own' has its own call, .* 'flat' flattens"),
        ("valid", layers.Reshape([-1], name="flat"), "^'own' has its own call, .* 'flat' flattens"),
        ("same", layers.GlobalMaxPooling2D(), "conv pads an input of 14 by 0 pixels before"),
    ],
)
def test_a_model_with_its_own_call_is_refused_where_predictions_would_differ(
    padding, pooling, message
):
    model = Own(padding, pooling)
    model(np.zeros((1, 14, 18, 3)))
    arrays = {
        "conv.weight": np.zeros((4, 3, 3, 3)),
        "conv.bias": np.zeros(4),
        "head.weight": np.zeros(model.head.kernel.shape[::-1]),
        "head.bias": np.zeros(5),
    }
    with pytest.raises(ValueError, match=message):
        load_parameters(model, arrays)
