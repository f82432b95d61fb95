"""Changes of pixels beside Keras's layers and the Python Imaging Library."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps

from trainlib.augmentation import color
from trainlib.augmentation.color import ValueRange

RNG = np.random.default_rng(0)
BYTES = RNG.integers(30, 220, (5, 11, 8, 3)).astype("uint8")
IMAGES = tf.constant(BYTES, tf.float32)
UNIT = IMAGES / 255
VALUES, UNIT_VALUES = ValueRange(0, 255), ValueRange(0, 1)
FACTOR = tf.constant([0.0, 0.4, 1.0, 1.5, 3.0])


def test_contrast_is_that_of_keras():
    transformation = {"contrast_factor": FACTOR[:, None, None, None]}
    expected = keras.layers.RandomContrast(0.5).transform_images(IMAGES, transformation)
    found = color.adjust_contrast(IMAGES, FACTOR, VALUES)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-3)


def test_brightness_is_that_of_keras():
    delta = tf.constant([-0.6, -0.1, 0.0, 0.3, 0.8])
    transformation = {"rgb_delta": 255 * delta[:, None, None, None]}
    expected = keras.layers.RandomBrightness(0.8).transform_images(IMAGES, transformation)
    np.testing.assert_allclose(color.adjust_brightness(IMAGES, delta, VALUES), expected, atol=1e-4)


def test_saturation_is_that_of_keras():
    layer = keras.layers.RandomSaturation(0.5, value_range=(0, 1))
    expected = layer.transform_images(UNIT, {"factor": FACTOR})
    found = color.adjust_saturation(UNIT, FACTOR, UNIT_VALUES)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    of_bytes = color.adjust_saturation(IMAGES, FACTOR, VALUES)
    np.testing.assert_allclose(of_bytes, 255 * expected, atol=1e-2)


def test_saturation_leaves_gray_and_black_pixels():
    gray = tf.constant([[[[0.0, 0, 0], [0.5, 0.5, 0.5]]]])
    found = color.adjust_saturation(gray, tf.constant([2.0]), UNIT_VALUES)
    np.testing.assert_array_equal(found, gray)


@pytest.mark.parametrize(("images", "values"), [(IMAGES, VALUES), (UNIT, UNIT_VALUES)])
def test_autocontrast_is_that_of_keras(images, values):
    expected = keras.layers.AutoContrast(value_range=tuple(values)).transform_images(images)
    np.testing.assert_allclose(color.autocontrast(images, values), expected, atol=2e-4 * values[1])


def test_autocontrast_leaves_a_constant_channel():
    flat = tf.fill([1, 3, 3, 1], 7.0)
    np.testing.assert_array_equal(color.autocontrast(flat, VALUES), flat)


def test_noise_has_its_deviation_and_stays_in_the_range():
    noise = tf.random.stateless_normal([1, 100, 100, 1], [1, 2])
    middle = tf.zeros([1, 100, 100, 1])
    little, much = (color.add_noise(middle, noise, s, ValueRange(-1, 1)) for s in (0.1, 0.9))
    assert np.std(little) == pytest.approx(0.2, rel=0.05)
    assert np.max(much) == 1


def test_gray_images_are_blended_as_in_keras():
    layer = keras.layers.RandomColorDegeneration(0.5)
    expected = layer.transform_images(IMAGES, {"factor": 1 - FACTOR[:, None, None, None]})
    found = color.blend(color.grayscale(IMAGES), IMAGES, FACTOR, VALUES)
    np.testing.assert_allclose(found, expected, atol=0.1)  # Keras's weights have four digits


def test_images_are_sharpened_as_in_keras_inside_the_borders():
    layer = keras.layers.RandomSharpness(0.5)
    expected = layer.transform_images(IMAGES, {"factor": FACTOR / 2})
    found = color.blend(color.smooth(IMAGES), IMAGES, FACTOR, VALUES)
    inner = slice(1, -1)
    np.testing.assert_allclose(found[:, inner, inner], expected[:, inner, inner], atol=1e-3)
    np.testing.assert_array_equal(color.smooth(IMAGES)[:, 0], IMAGES[:, 0])


def posterize(images, values):
    return color.posterize(images, tf.fill([5], 3), values)


def solarize(images, values):
    return color.solarize(images, tf.fill([5], values.low + values.size * 128 / 255), values)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (color.equalize, ImageOps.equalize),
        (posterize, lambda image: ImageOps.posterize(image, 3)),
        (solarize, lambda image: ImageOps.solarize(image, 128)),
    ],
)
def test_tables_of_values_are_those_of_the_imaging_library(ours, theirs):
    expected = np.stack([np.asarray(theirs(Image.fromarray(image))) for image in BYTES])
    np.testing.assert_array_equal(ours(IMAGES, VALUES), expected)
    around_zero = ours(UNIT - 0.5, ValueRange(-0.5, 0.5))
    away = np.abs(np.asarray(around_zero + 0.5) * 255 - expected)
    assert np.mean(away < 0.01) > 0.9  # a value at a step may round to its other side


def test_an_image_of_one_value_is_not_equalized():
    flat = tf.fill([1, 4, 4, 3], 9.0)
    np.testing.assert_array_equal(color.equalize(flat, VALUES), flat)
