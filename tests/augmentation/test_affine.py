"""Affine maps of images beside those of Keras's layers, and their composition."""

from __future__ import annotations

import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from trainlib.augmentation.affine import (
    FILL_MODES,
    compose,
    flip_map,
    move,
    rotation_map,
    shear_map,
    shift,
    warp,
    zoom_map,
)

HEIGHT, WIDTH = 12, 9
RNG = np.random.default_rng(0)
IMAGES = tf.constant(RNG.uniform(0, 255, (6, HEIGHT, WIDTH, 3)), tf.float32)


def close(ours, theirs):
    # Positions round differently by one part in a million, and pixels are up to 255 apart.
    np.testing.assert_allclose(ours, theirs, atol=0.01)


def drawn(layer):
    return layer.get_random_transformation(IMAGES, seed=7)


@pytest.mark.parametrize("fill_mode", FILL_MODES)
def test_rotations_are_those_of_keras(fill_mode):
    layer = keras.layers.RandomRotation(0.4, fill_mode=fill_mode, fill_value=3.0)
    transformation = drawn(layer)
    angle = transformation["angle"] * (math.pi / 180)
    ours = warp(IMAGES, rotation_map(angle), fill_mode, 3.0)
    close(ours, layer.transform_images(IMAGES, transformation))


def test_zooms_are_those_of_keras():
    layer = keras.layers.RandomZoom(0.4, fill_mode="constant")
    transformation = drawn(layer)
    ours = warp(IMAGES, zoom_map(transformation["height_zoom"][:, 0] - 1), "constant")
    close(ours, layer.transform_images(IMAGES, transformation))


def test_translations_are_those_of_keras():
    layer = keras.layers.RandomTranslation(0.3, 0.4)
    transformation = drawn(layer)
    right, down = tf.unstack(transformation["translations"], axis=1)
    close(warp(IMAGES, shift(right, down)), layer.transform_images(IMAGES, transformation))


def test_shears_are_those_of_keras_but_for_the_fixed_point():
    layer = keras.layers.RandomShear(0.3, 0.4)
    transformation = drawn(layer)
    x, y = tf.unstack(transformation["shear_factor"], axis=1)
    about_corner = shear_map(x, y)._replace(e=x * (HEIGHT - 1) / 2, f=y * (WIDTH - 1) / 2)
    close(warp(IMAGES, about_corner), layer.transform_images(IMAGES, transformation))


def test_flips_mirror_exactly():
    in_x, in_y = tf.constant([True, False] * 3), tf.constant([True] * 3 + [False] * 3)
    flips = flip_map(in_x, in_y)
    ours = warp(IMAGES, flips).numpy()
    np.testing.assert_array_equal(move(IMAGES, flips), ours)
    for image, found, x, y in zip(IMAGES.numpy(), ours, in_x.numpy(), in_y.numpy(), strict=True):
        np.testing.assert_array_equal(found, image[:: -1 if y else 1, :: -1 if x else 1])


@pytest.mark.parametrize("fill_mode", FILL_MODES)
def test_moves_by_whole_pixels_are_those_of_the_warp_to_the_bit(fill_mode):
    right, down = tf.constant([0.0, 3, -4, 7, 1, -6]), tf.constant([2.0, -5, 0, 10, -9, 1])
    flips = flip_map(tf.constant([True, False] * 3), tf.constant([True] * 3 + [False] * 3))
    images = tf.round(IMAGES)
    for maps in ([shift(right, down)], [flips, shift(right, down)], [shift(right, down), flips]):
        affine = compose(maps)
        expected = warp(images, affine, fill_mode, 7.4)
        np.testing.assert_array_equal(move(images, affine, fill_mode, 7.4), expected)
        of_bytes = move(tf.cast(images, tf.uint8), affine, fill_mode, 7.4)
        np.testing.assert_array_equal(of_bytes, tf.cast(tf.round(expected), tf.uint8))


def test_flips_of_one_axis_leave_the_other():
    in_x = tf.constant([True, False] * 3)
    both = flip_map(in_x, tf.constant([False] * 6))
    np.testing.assert_array_equal(move(IMAGES, flip_map(in_x, None)), move(IMAGES, both))


def test_shifts_by_whole_pixels_are_exact():
    ours = warp(IMAGES, shift(tf.constant(2.0), tf.constant(-3.0)), "constant", 7.0).numpy()
    expected = np.full_like(IMAGES, 7.0)
    expected[:, :-3, 2:] = IMAGES.numpy()[:, 3:, :-2]
    np.testing.assert_array_equal(ours, expected)


def test_a_composed_map_makes_the_first_change_first():
    mirror = flip_map(tf.constant(True), tf.constant(False))
    moved = shift(tf.constant(2.0), tf.constant(1.0))
    for maps in ([mirror, moved], [moved, mirror]):
        one_by_one = IMAGES
        for one in maps:
            one_by_one = warp(one_by_one, one, "wrap")
        np.testing.assert_array_equal(warp(IMAGES, compose(maps), "wrap"), one_by_one)


def test_a_quarter_turn_moves_the_right_side_to_the_top():
    square = IMAGES[:, :WIDTH]
    turned = warp(square, rotation_map(tf.constant([math.pi / 2])))
    close(turned, np.rot90(square, axes=(1, 2)))


def test_a_composed_rotation_and_zoom_has_the_product_of_the_matrices():
    angle, zoom = 0.7, 0.3
    composed = compose([zoom_map(tf.constant([zoom])), rotation_map(tf.constant([angle]))])
    cos, sin = (1 + zoom) * math.cos(angle), (1 + zoom) * math.sin(angle)
    np.testing.assert_allclose([float(x[0]) for x in composed[:4]], [cos, -sin, sin, cos], 1e-6)
