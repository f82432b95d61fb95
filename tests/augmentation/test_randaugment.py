"""RandAugment: each operation at its strength, and operations chosen for each image."""

from __future__ import annotations

import math

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageEnhance, ImageOps

from trainlib.augmentation.affine import rotation_map, warp
from trainlib.augmentation.color import ValueRange
from trainlib.augmentation.randaugment import OPERATIONS, randaugment
from trainlib.augmentation.steps import Settings
from trainlib.core.random import example_keys

RNG = np.random.default_rng(0)
BYTES = RNG.integers(0, 256, (4, 12, 10, 3)).astype("uint8")
IMAGES = tf.constant(BYTES, tf.float32)
SETTINGS = Settings(ValueRange(0, 255), "constant", 0.0)
SIGNS = tf.constant([1.0, -1.0, 1.0, -1.0])


def changed(name, images=IMAGES, strength=0.5):
    return OPERATIONS[name](images, SIGNS, strength, SETTINGS).numpy()


def test_there_are_fourteen_operations_one_of_which_is_none():
    assert len(OPERATIONS) == 14
    np.testing.assert_array_equal(changed("identity"), IMAGES)


@pytest.mark.parametrize(
    ("name", "theirs", "tolerance"),
    [
        ("autocontrast", lambda image, sign: ImageOps.autocontrast(image), 1),
        ("equalize", lambda image, sign: ImageOps.equalize(image), 0),
        # The library rounds the other image, and the result towards 0.
        ("brightness", lambda i, sign: ImageEnhance.Brightness(i).enhance(1 + 0.45 * sign), 1),
        ("color", lambda i, sign: ImageEnhance.Color(i).enhance(1 + 0.45 * sign), 2),
        ("contrast", lambda i, sign: ImageEnhance.Contrast(i).enhance(1 + 0.45 * sign), 2),
        ("sharpness", lambda i, sign: ImageEnhance.Sharpness(i).enhance(1 + 0.45 * sign), 2),
        ("posterize", lambda image, sign: ImageOps.posterize(image, 6), 0),
        ("solarize", lambda image, sign: ImageOps.solarize(image, 128), 0),
    ],
)
def test_operations_on_pixels_are_those_of_the_imaging_library(name, theirs, tolerance):
    expected = [
        np.asarray(theirs(Image.fromarray(image), sign), "f4")
        for image, sign in zip(BYTES, SIGNS.numpy(), strict=True)
    ]
    np.testing.assert_allclose(changed(name), expected, atol=tolerance)


def test_images_are_turned_by_half_of_thirty_degrees():
    expected = warp(IMAGES, rotation_map(SIGNS * math.radians(15)), "constant")
    np.testing.assert_allclose(changed("rotate"), expected, atol=1e-3)


def ramp(axis):
    """Images whose pixels hold their place along an axis."""
    place = np.arange(IMAGES.shape[axis], dtype="f4")
    shape = (1, -1, 1, 1) if axis == 1 else (1, 1, -1, 1)
    return tf.constant(np.broadcast_to(np.reshape(place, shape), (4, 12, 10, 1)))


@pytest.mark.parametrize(("name", "axis", "place"), [("translate_x", 2, 5), ("translate_y", 1, 6)])
def test_images_are_moved_by_a_part_of_their_side(name, axis, place):
    pixels = 0.5 * 150 / 331 * IMAGES.shape[axis]
    found = changed(name, ramp(axis))[:, 6, 5, 0]
    np.testing.assert_allclose(found, place - pixels * SIGNS.numpy(), atol=1e-3)


@pytest.mark.parametrize(("name", "axis"), [("shear_x", 2), ("shear_y", 1)])
def test_images_are_sheared_by_half_of_three_tenths(name, axis):
    found = changed(name, ramp(axis))[..., 0]
    before = found[:, 5, 5] if axis == 2 else found[:, 6, 4]
    np.testing.assert_allclose(found[:, 6, 5] - before, 0.15 * SIGNS.numpy(), atol=1e-3)


def test_each_image_has_its_own_operation():
    n = 2800
    images = tf.constant(np.broadcast_to(BYTES[:1], (n, 12, 10, 3)), tf.float32)
    found = randaugment(1, 15.0).function(images, example_keys(0, 0, tf.range(n)), SETTINGS).numpy()
    _, counts = np.unique(found.reshape(n, -1), axis=0, return_counts=True)
    # Identity, autocontrast, equalize, posterize and solarize have one result, the others two.
    expected = np.sort([200] * 5 + [100] * 18)
    if len(counts) == 22:  # autocontrast leaves an image that has both 0 and 255
        expected = np.sort([400] + [200] * 3 + [100] * 18)
    np.testing.assert_allclose(np.sort(counts), expected, atol=60)


def test_strength_zero_changes_nothing_but_the_tables_of_values():
    for name in set(OPERATIONS) - {"autocontrast", "equalize", "solarize"}:
        np.testing.assert_allclose(changed(name, strength=0.0), IMAGES, atol=1e-3, err_msg=name)
