"""Steps that change the values of pixels: contrast, brightness, saturation, noise and boxes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from trainlib.augmentation import color
from trainlib.augmentation.boxes import box_around, box_of_area, inside, random_pixel
from trainlib.augmentation.steps import (
    Settings,
    augmentation,
    chosen,
    symmetric,
    where_chosen,
)
from trainlib.core.random import fold_in, normal, uniform
from trainlib.core.types import Tensor


@augmentation("pixels", uses_range=True)
def contrast(factor: float) -> Callable[..., Any]:
    """Multiply the distances of pixels from the mean of their channel.

    The multiplier is uniform in [1 - factor, 1 + factor].

    Args:
        factor: largest change, at least 0 and at most 1.

    Example:
        >>> tl.augmentation.contrast(0.1).text
        'contrast=0.1'

    References:
        `keras.layers.RandomContrast`.
    """

    def function(images: Tensor, key: Tensor, settings: Settings) -> Tensor:
        return color.adjust_contrast(images, 1 + symmetric(key, factor), settings.values)

    return function


@augmentation("pixels", uses_range=True)
def brightness(factor: float) -> Callable[..., Any]:
    """Add a number to all pixels of an image.

    It is uniform in [-factor, factor] times the range of values.

    Args:
        factor: largest change, at least 0 and at most 1.

    Example:
        >>> tl.augmentation.brightness(0.1).text
        'brightness=0.1'

    References:
        `keras.layers.RandomBrightness`.
    """

    def function(images: Tensor, key: Tensor, settings: Settings) -> Tensor:
        return color.adjust_brightness(images, symmetric(key, factor), settings.values)

    return function


@augmentation("pixels", uses_range=True, is_for_rgb=True)
def saturation(factor: float) -> Callable[..., Any]:
    """Multiply the saturation of RGB images in HSV, uniform in [1 - factor, 1 + factor].

    Args:
        factor: largest change, at least 0 and at most 1.

    Example:
        >>> tl.augmentation.saturation(0.3).text
        'saturation=0.3'

    Differences:
        Keras: `RandomSaturation` multiplies by u / (1 - u), u uniform in [0, factor], so that 0.5
            changes nothing.

    References:
        `keras.layers.RandomSaturation`, `tf.image.adjust_saturation`.
    """

    def function(images: Tensor, key: Tensor, settings: Settings) -> Tensor:
        return color.adjust_saturation(images, 1 + symmetric(key, factor), settings.values)

    return function


@augmentation("pixels", uses_range=True)
def noise(stddev: float) -> Callable[..., Any]:
    """Add normal noise to each value.

    Args:
        stddev: standard deviation as a fraction of the range of values, above 0.

    Example:
        >>> tl.augmentation.noise(0.05).text
        'noise=0.05'

    Differences:
        Keras: `GaussianNoise` takes the standard deviation itself, and does not keep values in
            their range.

    References:
        `keras.layers.GaussianNoise`.
    """

    def function(images: Tensor, key: Tensor, settings: Settings) -> Tensor:
        drawn = tf.cast(_per_value(normal, images, key), images.dtype)
        return color.add_noise(images, drawn, stddev, settings.values)

    return function


@augmentation("pixels", uses_range=True)
def autocontrast(probability: float = 1.0) -> Callable[..., Any]:
    """Stretch each channel of an image over the whole range of values.

    Args:
        probability: fraction of the images that are changed, above 0 and at most 1. Default: 1.

    Example:
        >>> tl.augmentation.autocontrast(0.5).text
        'autocontrast=0.5'

    References:
        `keras.layers.AutoContrast`; `ImageOps.autocontrast` of the Python Imaging Library.
    """

    def function(images: Tensor, key: Tensor, settings: Settings) -> Tensor:
        changed = color.autocontrast(images, settings.values)
        return where_chosen(chosen(key, probability), changed, images)

    return function


@augmentation("pixels")
def cutout(size: int) -> Callable[..., Any]:
    """Erase a square around a random pixel; what is outside the image is cut off.

    Args:
        size: side of the square in pixels, at least 1. It is filled with the `fill_value` of the
            chain, by default 0.

    Example:
        >>> tl.augmentation.cutout(8).text
        'cutout=8'

    References:
        DeVries and Taylor 2017, "Improved regularization of convolutional neural networks with
        cutout".
    """

    def function(images: Tensor, key: Tensor, settings: Settings) -> Tensor:
        height, width = images.shape[1:3]
        box = box_around(
            *random_pixel(key, height, width), (tf.constant(size),) * 2, (height, width)
        )
        fill = tf.constant(settings.fill_value, images.dtype)
        return tf.where(inside(box, height, width), fill, images)

    return function


@augmentation("pixels", uses_range=True)
def erasing(
    probability: float = 0.5, smallest: float = 0.02, largest: float = 0.4, ratio: float = 0.3
) -> Callable[..., Any]:
    """Replace a rectangle inside the image by random values, uniform in the range of values.

    Args:
        probability: fraction of the images that are changed, above 0 and at most 1. Default: 0.5.
        smallest: smallest area of the rectangle as a fraction of the image. Default: 0.02.
        largest: largest area. Default: 0.4.
        ratio: smallest ratio of height to width; the largest is its inverse. Default: 0.3.

    Example:
        >>> tl.augmentation.erasing(0.25).text
        'erasing=0.25:0.02:0.4:0.3'

    Differences:
        Keras: `RandomErasing` draws height and width independently, and fills with normal noise.
        The paper draws until a rectangle fits; here the image is left as it is after ten draws.

    References:
        Zhong et al. 2017, "Random erasing data augmentation", RE-R.
    """
    if smallest > largest:
        raise ValueError(
            f"augment: smallest of erasing must be at most largest, got {smallest:g} and "
            f"{largest:g}"
        )

    def function(images: Tensor, key: Tensor, settings: Settings) -> Tensor:
        height, width = images.shape[1:3]
        box = box_of_area(fold_in(key, 0), (height, width), (smallest, largest), ratio)
        drawn = tf.cast(_per_value(uniform, images, fold_in(key, 1)), images.dtype)
        fill = settings.values.low + settings.values.size * drawn
        erased = inside(box, height, width)
        erased &= chosen(fold_in(key, 2), probability)[:, tf.newaxis, tf.newaxis, tf.newaxis]
        return tf.where(erased, fill, images)

    return function


def _per_value(draw: Callable[[Tensor, int], Tensor], images: Tensor, key: Tensor) -> Tensor:
    """Return a random number for each value of the images."""
    height, width, channels = images.shape[1:]
    return tf.reshape(draw(key, height * width * channels), tf.shape(images))
