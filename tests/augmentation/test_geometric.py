"""The draws of geometric steps are uniform in the ranges that they are given."""

from __future__ import annotations

import math

import numpy as np
import pytest
import tensorflow as tf

import trainlib as tl
from trainlib.core.random import example_keys

N = 4000
KEY = example_keys(0, 0, tf.range(N))
aug = tl.augmentation


def drawn(step):
    """The numbers of the maps of many images of 20 x 10 pixels."""
    return [np.broadcast_to(x, N) for x in step.function(KEY, (20, 10))]


def uniform_in(x, low, high):
    quantiles = np.quantile(x, [0, 0.25, 0.5, 0.75, 1])
    expected = np.linspace(low, high, 5)
    np.testing.assert_allclose(quantiles, expected, atol=0.03 * (high - low))
    return low - 1e-5 <= x.min() and x.max() <= high + 1e-5


def test_angles():
    a, b, c, d, e, f = drawn(aug.rotation(0.1))
    angle = np.arctan2(c, a) / (2 * math.pi)
    assert uniform_in(angle, -0.1, 0.1)
    np.testing.assert_allclose([a, b], [d, -c])
    assert not np.any(e) and not np.any(f)


def test_zooms():
    a, b, c, d, *_ = drawn(aug.zoom(0.3))
    assert uniform_in(a, 0.7, 1.3) and np.all(a == d) and not np.any([b, c])


def test_translations_are_parts_of_the_sides():
    *_, e, f = drawn(aug.translation(0.2))
    assert uniform_in(e, -2, 2) and uniform_in(f, -4, 4)
    assert abs(np.corrcoef(e, f)[0, 1]) < 0.05


def test_shears_of_the_axes_are_independent():
    a, b, c, d, *_ = drawn(aug.shear(0.5))
    assert uniform_in(b, -0.5, 0.5) and uniform_in(c, -0.5, 0.5)
    assert abs(np.corrcoef(b, c)[0, 1]) < 0.05 and np.all(a == 1) and np.all(d == 1)


@pytest.mark.parametrize(
    ("direction", "x", "y"), [("horizontal", 0.5, 0), ("vertical", 0, 0.5), ("both", 0.5, 0.5)]
)
def test_half_of_the_images_are_flipped_in_each_direction(direction, x, y):
    a, _, _, d, *_ = drawn(aug.flip(direction))
    assert np.mean(a < 0) == pytest.approx(x, abs=0.03 * (x > 0))
    assert np.mean(d < 0) == pytest.approx(y, abs=0.03 * (y > 0))
    if direction == "both":
        assert np.mean((a < 0) & (d < 0)) == pytest.approx(0.25, abs=0.03)


def test_crops_shift_by_each_number_of_pixels_equally_often():
    *_, e, f = drawn(aug.crop(1))
    pairs, counts = np.unique([e, f], axis=1, return_counts=True)
    assert pairs.shape == (2, 9) and counts.min() > 0.8 * N / 9
