"""Geometric changes of images: affine maps, their composition, and the warp that applies one.

A map takes a pixel of the result to the position in the image from which its value comes, in pixels
from the centre of the image:

    (x, y) -> (a x + b y + e, c x + d y + f)

A chain of changes is one map, so that an image is interpolated once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from trainlib.core.random import elementwise
from trainlib.core.types import Tensor

FILL_MODES = ("reflect", "constant", "nearest", "wrap")
"""How the outside of an image is filled: its reflection, a value, its edge, the image repeated."""


class Affine(NamedTuple):
    """Affine maps of images.

    Attributes:
        a, b, c, d: the matrix, float32 [n] or scalars.
        e, f: the shift in x and in y, in pixels.
    """

    a: Tensor
    b: Tensor
    c: Tensor
    d: Tensor
    e: Tensor
    f: Tensor


def linear(a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Affine:
    """Return maps that leave the centre where it is."""
    zero = tf.constant(0.0)
    return Affine(a, b, c, d, zero, zero)


def shift(right: Tensor, down: Tensor) -> Affine:
    """Return maps that move images by numbers of pixels."""
    one, zero = tf.constant(1.0), tf.constant(0.0)
    return Affine(one, zero, zero, one, -right, -down)


def flip_map(in_x: Tensor | None, in_y: Tensor | None) -> Affine:
    """Return maps that mirror images, left and right or up and down, where bools [n] say so.

    None mirrors no image.
    """
    zero, one = tf.constant(0.0), tf.constant(1.0)
    a, d = (one if flipped is None else tf.where(flipped, -1.0, 1.0) for flipped in (in_x, in_y))
    return linear(a, zero, zero, d)


def rotation_map(angle: Tensor) -> Affine:
    """Return maps that turn images counter-clockwise by angles in radians, [n]."""
    cos, sin = (elementwise(function, angle) for function in (tf.cos, tf.sin))
    return linear(cos, -sin, sin, cos)


def zoom_map(factor: Tensor) -> Affine:
    """Return maps that show 1 + factor times the height and the width of images, [n]."""
    zero = tf.constant(0.0)
    return linear(1 + factor, zero, zero, 1 + factor)


def shear_map(x_factor: Tensor, y_factor: Tensor) -> Affine:
    """Return maps that shift rows by x_factor times their height, and columns likewise, [n]."""
    one = tf.constant(1.0)
    return linear(one, x_factor, y_factor, one)


def compose(maps: Sequence[Affine]) -> Affine:
    """Return the map of several changes, of which the first is made first."""
    result = maps[0]
    for p in maps[1:]:
        m = result
        result = Affine(
            m.a * p.a + m.b * p.c,
            m.a * p.b + m.b * p.d,
            m.c * p.a + m.d * p.c,
            m.c * p.b + m.d * p.d,
            m.a * p.e + m.b * p.f + m.e,
            m.c * p.e + m.d * p.f + m.f,
        )
    return result


def warp(
    images: Tensor, affine: Affine, fill_mode: str = "reflect", fill_value: float = 0.0
) -> Tensor:
    """Return images with affine maps applied, by bilinear interpolation.

    Args:
        images: floating [n, height, width, channels].
        affine: the maps, [n] or scalars.
        fill_mode: what is outside an image, one of `FILL_MODES`. Default: "reflect".
        fill_value: the value outside, for "constant". Default: 0.

    References:
        `tf.raw_ops.ImageProjectiveTransformV3`, which XLA does not compile.
    """
    height, width = (float(size) for size in images.shape[1:3])
    x, y = (width - 1) / 2, (height - 1) / 2
    m = affine
    to_x = x + m.e - m.a * x - m.b * y
    to_y = y + m.f - m.c * x - m.d * y
    zero = tf.constant(0.0)
    rows = [m.a, m.b, to_x, m.c, m.d, to_y, zero, zero]
    count = tf.shape(images)[:1]
    warped = tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=tf.stack([tf.broadcast_to(row, count) for row in rows], axis=1),
        output_shape=tf.constant(images.shape[1:3].as_list(), tf.int32),
        fill_value=tf.constant(fill_value, tf.float32),
        interpolation="BILINEAR",
        fill_mode=fill_mode.upper(),
    )
    return tf.ensure_shape(warped, images.shape)


def move(
    images: Tensor, affine: Affine, fill_mode: str = "reflect", fill_value: float = 0.0
) -> Tensor:
    """Return images mirrored and moved by whole pixels, as `warp` does, without interpolation.

    Args:
        images: [n, height, width, channels] of any dtype, which is kept.
        affine: maps of `flip_map`, of `shift` by whole pixels, or their composition.
        fill_mode, fill_value: as those of `warp`.
    """
    for axis, factor, by in ((1, affine.d, affine.f), (2, affine.a, affine.e)):
        if _is_known(factor, 1) and _is_known(by, 0):
            continue
        size = images.shape[axis]
        middle = (size - 1) / 2
        from_middle = tf.range(size, dtype=tf.float32) - middle
        place = factor[..., tf.newaxis] * from_middle + by[..., tf.newaxis] + middle
        place = tf.broadcast_to(tf.cast(tf.round(place), tf.int32), [tf.shape(images)[0], size])
        if fill_mode == "constant":
            before = [[0, 0], [0, 0], [0, 0], [0, 0]]
            before[axis][1] = 1  # the pixel after the last is outside
            images = tf.pad(images, before, constant_values=_as_pixel(fill_value, images.dtype))
        images = tf.gather(images, _inside(place, size, fill_mode), axis=axis, batch_dims=1)
    return images


def _inside(place: Tensor, size: int, fill_mode: str) -> Tensor:
    """Return the pixels of a row or a column that positions show, some of which are outside it."""
    if fill_mode == "constant":
        return tf.where((place < 0) | (place >= size), size, place)
    if fill_mode == "nearest":
        return tf.clip_by_value(place, 0, size - 1)
    if fill_mode == "wrap":
        return place % size
    twice = place % (2 * size)
    return tf.minimum(twice, 2 * size - 1 - twice)


def _as_pixel(value: float, dtype: Any) -> Tensor:
    """Return a value in the dtype of images; of integers the nearest that they hold."""
    if dtype.is_integer:
        value = float(np.clip(np.round(value), dtype.min, dtype.max))
    return tf.cast(tf.constant(value, tf.float32), dtype)


def _is_known(x: Tensor, value: float) -> bool:
    """Return whether it is known before a graph runs that a number has a value."""
    known = tf.get_static_value(x)
    return known is not None and bool(np.all(known == value))


def turns(fraction: Tensor) -> Tensor:
    """Return fractions of a full turn in radians."""
    return (2 * math.pi) * fraction
