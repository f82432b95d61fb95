"""The draws of steps on pixels: ranges, fractions of the images, and sizes of what is erased."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import trainlib as tl
from trainlib.augmentation.color import ValueRange
from trainlib.augmentation.steps import Settings
from trainlib.core.random import example_keys

N = 2000
KEY = example_keys(0, 0, tf.range(N))
SETTINGS = Settings(ValueRange(-1.0, 3.0), fill_value=0.5)
HALVES = tf.constant(np.broadcast_to(np.array([0.5, 1.5], "f4")[:, None], (N, 12, 2, 1)))
"""Images of two values, 0.5 and 1.5, in half of the pixels each."""
aug = tl.augmentation


def changed(step, images=HALVES):
    return step.function(images, KEY, SETTINGS).numpy()


def uniform_in(x, low, high):
    expected = np.linspace(low, high, 5)
    quantiles = np.quantile(x, [0, 0.25, 0.5, 0.75, 1])
    np.testing.assert_allclose(quantiles, expected, atol=0.05 * (high - low))


def test_contrasts():
    found = changed(aug.contrast(0.4))
    uniform_in(found.max((1, 2, 3)) - found.min((1, 2, 3)), 0.6, 1.4)
    np.testing.assert_allclose(found.mean((1, 2, 3)), 1, atol=1e-5)


def test_brightness_is_a_part_of_the_range():
    uniform_in(changed(aug.brightness(0.1)).min((1, 2, 3)), 0.1, 0.9)


def test_saturations():
    red = tf.constant(np.broadcast_to(np.array([2.0, 1.0, 1.0], "f4"), (N, 2, 2, 3)))
    found = changed(aug.saturation(0.5), red)
    # The value is 3 above the lowest one, the other channels are 2: a saturation of 1 / 3.
    uniform_in((3 - (found[:, 0, 0, 1] + 1)) / 3, 0.5 / 3, 1.5 / 3)
    np.testing.assert_allclose(found[..., 0], 2)


def test_noise_is_independent_for_each_pixel():
    noise = changed(aug.noise(0.05)) - HALVES.numpy()
    assert np.std(noise) == pytest.approx(0.2, rel=0.02)
    assert abs(np.corrcoef(noise[:, 0, 0, 0], noise[:, 0, 1, 0])[0, 1]) < 0.08


def test_autocontrast_stretches_a_fraction_of_the_images():
    found = changed(aug.autocontrast(0.3))
    stretched = (found.min((1, 2, 3)) == -1) & (found.max((1, 2, 3)) == 3)
    assert np.mean(stretched) == pytest.approx(0.3, abs=0.03)
    np.testing.assert_array_equal(found[~stretched], HALVES.numpy()[~stretched])


def test_cutout_erases_squares_that_may_leave_the_image():
    erased = (changed(aug.cutout(4), tf.zeros([N, 12, 10, 1])) == 0.5)[..., 0]
    heights, widths = erased.any(2).sum(1), erased.any(1).sum(1)
    assert (heights.min(), heights.max(), widths.min(), widths.max()) == (2, 4, 2, 4)
    np.testing.assert_array_equal(erased.sum((1, 2)), heights * widths)
    assert np.mean(heights == 4) == pytest.approx(9 / 12, abs=0.03)


def test_erasing_fills_rectangles_of_a_fraction_of_the_images_with_values_of_the_range():
    found = changed(aug.erasing(0.5, 0.1, 0.3, 0.5), tf.fill([N, 20, 20, 1], 7.0))[..., 0]
    erased = found != 7
    chosen = erased.any((1, 2))
    assert np.mean(chosen) == pytest.approx(0.5, abs=0.04)
    uniform_in(found[erased], -1, 3)
    area = erased.sum((1, 2))[chosen] / 400
    assert area.min() > 0.08 and area.max() < 0.33
    np.testing.assert_array_equal(erased.sum((1, 2)), erased.any(2).sum(1) * erased.any(1).sum(1))
