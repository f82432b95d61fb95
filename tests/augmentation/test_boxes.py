"""Boxes in images: their pixels, places and areas."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from trainlib.augmentation.boxes import Box, box_around, box_of_area, inside, random_pixel
from trainlib.core.random import example_keys

N = 4000
KEY = example_keys(0, 0, tf.range(N))


def test_the_pixels_of_a_box():
    box = Box(*(tf.constant([x]) for x in (1, 3, 0, 2)))
    expected = np.zeros((4, 5))
    expected[1:3, 0:2] = 1
    np.testing.assert_array_equal(inside(box, 4, 5)[0, :, :, 0], expected)


@pytest.mark.parametrize(
    ("x", "y", "expected"), [(5, 5, (3, 7, 3, 7)), (0, 9, (7, 10, 0, 2)), (11, 0, (0, 2, 9, 12))]
)
def test_a_box_around_a_pixel_ends_at_the_image(x, y, expected):
    size = tf.constant(4), tf.constant(4)
    box = box_around(tf.constant([x]), tf.constant([y]), size, (10, 12))
    assert tuple(int(side[0]) for side in box) == expected


def test_all_pixels_are_drawn():
    x, y = random_pixel(KEY, 3, 5)
    counts = np.bincount(x.numpy() + 5 * y.numpy(), minlength=15)
    assert counts.size == 15 and counts.min() > N / 15 * 0.7


def test_boxes_of_random_areas_are_in_the_image_with_these_areas_and_forms():
    top, bottom, left, right = (x.numpy() for x in box_of_area(KEY, (40, 60), (0.05, 0.3), 0.5))
    assert top.min() == 0 and bottom.max() == 40 and left.min() == 0 and right.max() == 60
    area = (bottom - top) * (right - left) / 2400
    assert area.min() > 0.04 and area.max() < 0.32
    assert np.mean(area) == pytest.approx(0.175, abs=0.01)
    ratio = (bottom - top) / (right - left)
    assert ratio.min() > 0.45 and ratio.max() < 2.3


def test_a_box_that_never_fits_is_empty():
    box = box_of_area(KEY[:50], (4, 400), (0.9, 0.9), 0.9)
    assert not np.any(inside(box, 4, 400))
