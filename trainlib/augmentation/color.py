"""Changes of the values of pixels: contrast, brightness, saturation, noise and the like.

Images are floating, [n, height, width, channels]. Numbers per image are [n]. Values are kept in the
range of the images.
"""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from trainlib.core.tree import with_rank
from trainlib.core.types import Tensor

LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in a gray value, of ITU-R BT.601."""


class ValueRange(NamedTuple):
    """The values that pixels can have.

    Attributes:
        low: the lowest.
        high: the highest.
    """

    low: float
    high: float

    @property
    def size(self) -> float:
        """The difference of the two."""
        return self.high - self.low

    def clip(self, images: Tensor) -> Tensor:
        """Return images with values outside set to the nearest inside."""
        return tf.clip_by_value(images, self.low, self.high)


def adjust_contrast(images: Tensor, factor: Tensor, values: ValueRange) -> Tensor:
    """Return images whose distances from the mean of each channel are multiplied.

    out = mean + factor (image - mean)
    """
    mean = channel_mean(images)
    return values.clip((images - mean) * _per_image(factor, images) + mean)


def adjust_brightness(images: Tensor, delta: Tensor, values: ValueRange) -> Tensor:
    """Return images with a part of the range added: out = image + delta (high - low)."""
    return values.clip(images + _per_image(delta, images) * values.size)


def adjust_saturation(images: Tensor, factor: Tensor, values: ValueRange) -> Tensor:
    """Return RGB images whose saturation in HSV is multiplied, hue and value unchanged.

    With the largest channel V and the smallest m of a pixel, above `low`, the saturation is
    S = (V - m) / V, and

        out = V - (V - image) min(factor, 1 / S)
    """
    x = images - values.low
    value = tf.reduce_max(x, -1, keepdims=True)
    span = value - tf.reduce_min(x, -1, keepdims=True)
    limit = tf.where(span > 0, value / tf.where(span > 0, span, 1.0), 1.0)
    scale = tf.minimum(_per_image(factor, images), limit)
    return values.clip(value - (value - x) * scale + values.low)


def add_noise(images: Tensor, noise: Tensor, stddev: float, values: ValueRange) -> Tensor:
    """Return images with noise added: out = image + stddev (high - low) noise."""
    return values.clip(images + (stddev * values.size) * noise)


def autocontrast(images: Tensor, values: ValueRange) -> Tensor:
    """Return images with each channel stretched over the whole range.

    out = low + (high - low) (image - min) / (max - min), or the image where max = min
    """
    low, high = (f(images, [1, 2], keepdims=True) for f in (tf.reduce_min, tf.reduce_max))
    span = high - low
    stretched = (images - low) * (values.size / tf.where(span > 0, span, 1.0)) + values.low
    return tf.where(span > 0, values.clip(stretched), images)


def blend(first: Tensor, images: Tensor, factor: Tensor, values: ValueRange) -> Tensor:
    """Return first + factor (image - first): other images for 0, the images for 1."""
    return values.clip(first + _per_image(factor, images) * (images - first))


def grayscale(images: Tensor) -> Tensor:
    """Return the gray values of RGB images, [n, height, width, 1]; gray images as they are."""
    if images.shape[-1] == 1:
        return images
    return sum(w * images[..., k : k + 1] for k, w in enumerate(LUMA))


def smooth(images: Tensor) -> Tensor:
    """Return images with each pixel inside the borders averaged with its eight neighbours.

    The pixel has the weight 5 / 13, each neighbour 1 / 13; the borders are unchanged.
    """
    rows = images[:, :-2] + images[:, 1:-1] + images[:, 2:]
    sums = rows[:, :, :-2] + rows[:, :, 1:-1] + rows[:, :, 2:]
    inside = (sums + 4 * images[:, 1:-1, 1:-1]) * (1 / 13)
    padded = tf.pad(inside, [[0, 0], [1, 1], [1, 1], [0, 0]])
    height, width = images.shape[1:3]
    y, x = tf.range(height)[:, tf.newaxis], tf.range(width)
    is_inside = (y > 0) & (y < height - 1) & (x > 0) & (x < width - 1)
    return tf.where(is_inside[..., tf.newaxis], padded, images)


def equalize(images: Tensor, values: ValueRange) -> Tensor:
    """Return images with the histogram of each channel equalized, in 256 steps of the range.

    A value k becomes (half a step + number of pixels below k) // step, with a step of 1 / 255 of
    the pixels that are below the largest value, as in the Python Imaging Library.
    """
    _, height, width, channels = images.shape
    steps = tf.cast(tf.round(_to_bytes(images, values)), tf.int32)
    flat = tf.reshape(tf.transpose(steps, [0, 3, 1, 2]), [-1, height * width])
    counts = tf.math.bincount(flat, minlength=256, maxlength=256, axis=-1)
    largest = tf.reduce_max(flat, -1)
    step = (height * width - tf.gather(counts, largest, batch_dims=1)) // 255
    below = tf.cumsum(counts, -1, exclusive=True)
    half = (step // 2)[:, tf.newaxis]
    table = tf.minimum((half + below) // tf.maximum(step, 1)[:, tf.newaxis], 255)
    found = tf.where((step > 0)[:, tf.newaxis], tf.gather(table, flat, batch_dims=1), flat)
    planes = tf.reshape(found, [-1, channels, height, width])
    return _from_bytes(tf.cast(tf.transpose(planes, [0, 2, 3, 1]), images.dtype), values)


def posterize(images: Tensor, bits: Tensor, values: ValueRange) -> Tensor:
    """Return images with only the highest of the eight bits of a value, [n] from 1 to 8."""
    step = _per_image(tf.bitwise.left_shift(tf.ones_like(bits), 8 - bits), images)
    return _from_bytes(tf.floor(_to_bytes(images, values) / step) * step, values)


def solarize(images: Tensor, threshold: Tensor, values: ValueRange) -> Tensor:
    """Return images in which values from a threshold on are inverted, high + low - image."""
    inverted = values.high + values.low - images
    return tf.where(images < _per_image(threshold, images), images, inverted)


def channel_mean(images: Tensor) -> Tensor:
    """Return the mean of each channel, [n, 1, 1, channels].

    The sum is over the last axis, so that its bits do not depend on the number of images.
    """
    planes = tf.transpose(images, [0, 3, 1, 2])
    _, channels, height, width = planes.shape
    mean = tf.reduce_mean(tf.reshape(planes, [-1, channels, height * width]), -1)
    return mean[:, tf.newaxis, tf.newaxis, :]


def _per_image(x: Tensor, images: Tensor) -> Tensor:
    """Return numbers [n] in the dtype of images and a shape that broadcasts with them."""
    return with_rank(tf.cast(x, images.dtype), 4)


def _to_bytes(images: Tensor, values: ValueRange) -> Tensor:
    """Return images with their range scaled to [0, 255]."""
    return (images - values.low) * (255 / values.size)


def _from_bytes(images: Tensor, values: ValueRange) -> Tensor:
    """Return images with [0, 255] scaled to their range."""
    return images * (values.size / 255) + values.low
