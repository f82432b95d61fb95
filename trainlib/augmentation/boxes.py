"""Boxes in images: erased ones, and those taken from other images."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from trainlib.core.random import fold_in, uniform
from trainlib.core.types import Tensor

ATTEMPTS = 10
"""Number of boxes that are drawn; the first that fits into the image is taken."""


class Box(NamedTuple):
    """A box in each image: rows from top to below bottom, columns from left to below right.

    Attributes:
        top, bottom, left, right: int32 [n].
    """

    top: Tensor
    bottom: Tensor
    left: Tensor
    right: Tensor


def inside(box: Box, height: int, width: int) -> Tensor:
    """Return which pixels are in the boxes, bools [n, height, width, 1]."""
    y, x = tf.range(height)[:, tf.newaxis], tf.range(width)
    top, bottom, left, right = (side[:, tf.newaxis, tf.newaxis] for side in box)
    # Rows and columns first: they are far fewer than pixels.
    return (((y >= top) & (y < bottom)) & ((x >= left) & (x < right)))[..., tf.newaxis]


def box_around(x: Tensor, y: Tensor, size: tuple[Tensor, Tensor], shape: tuple[int, int]) -> Box:
    """Return boxes around pixels, without the parts that are outside the image.

    Args:
        x, y: the pixels, int32 [n].
        size: height and width of the boxes, int32 [n] or scalars.
        shape: height and width of the images.
    """

    def sides(centre: Tensor, length: Tensor, limit: int) -> list[Tensor]:
        ends = centre - length // 2, centre - length // 2 + length
        return [tf.clip_by_value(end, 0, limit) for end in ends]

    return Box(*sides(y, size[0], shape[0]), *sides(x, size[1], shape[1]))


def random_pixel(key: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Return a pixel of each image, x and y, int32 [n]."""
    u = uniform(key, 2)
    x, y = (tf.cast(tf.floor(u[:, k] * size), tf.int32) for k, size in enumerate((width, height)))
    return x, y


def box_of_area(
    key: Tensor, shape: tuple[int, int], area: tuple[float, float], ratio: float
) -> Box:
    """Return a box of a random area and form in each image; an empty one if ten do not fit.

    Args:
        key: keys of the random numbers, int64 [n, 2].
        shape: height and width of the images.
        area: smallest and largest area, as fractions of the image.
        ratio: smallest ratio of height to width; the largest is 1 / ratio.
    """
    height, width = shape
    s = uniform(fold_in(key, 0), ATTEMPTS, *area) * float(height * width)
    r = uniform(fold_in(key, 1), ATTEMPTS, ratio, 1 / ratio)
    sizes = tf.round(tf.sqrt(s * r)), tf.round(tf.sqrt(s / r))
    fits = (sizes[0] < height) & (sizes[1] < width)
    first = tf.argmax(fits, 1, output_type=tf.int32)
    h, w = (tf.gather(size, first, batch_dims=1) for size in sizes)
    none = ~tf.reduce_any(fits, 1)
    h, w = tf.where(none, 0.0, h), tf.where(none, 0.0, w)
    u = uniform(fold_in(key, 2), 2)
    top, left = tf.floor(u[:, 0] * (height - h + 1)), tf.floor(u[:, 1] * (width - w + 1))
    return Box(*(tf.cast(side, tf.int32) for side in (top, top + h, left, left + w)))
