"""Geometric steps: flip, rotation, zoom, translation, shear and crop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from trainlib.augmentation.affine import (
    Affine,
    flip_map,
    rotation_map,
    shear_map,
    shift,
    turns,
    zoom_map,
)
from trainlib.augmentation.steps import augmentation, symmetric
from trainlib.core.random import fold_in, uniform
from trainlib.core.types import Tensor


@augmentation("geometric")
def flip(direction: str = "horizontal") -> Callable[..., Any]:
    """Mirror half of the images, left and right or up and down; with "both" each independently.

    Args:
        direction: "horizontal", "vertical" or "both". Default: "horizontal".

    Example:
        >>> tl.augmentation.flip("horizontal").text
        'flip=horizontal'

    References:
        `keras.layers.RandomFlip`.
    """

    def function(key: Tensor, size: tuple[int, int]) -> Affine:
        mirrored = uniform(key, 2) < 0.5
        in_x = None if direction == "vertical" else mirrored[:, 0]
        in_y = None if direction == "horizontal" else mirrored[:, 1]
        return flip_map(in_x, in_y)

    return function


@augmentation("geometric")
def rotation(factor: float) -> Callable[..., Any]:
    """Turn images by an angle that is uniform in [-factor, factor] full turns.

    Args:
        factor: largest angle, above 0 and at most 1.

    Example:
        >>> tl.augmentation.rotation(0.1).text
        'rotation=0.1'

    References:
        `keras.layers.RandomRotation`.
    """
    return lambda key, size: rotation_map(turns(symmetric(key, factor)))


@augmentation("geometric")
def zoom(factor: float) -> Callable[..., Any]:
    """Show 1 + u times the height and the width of images, u uniform in [-factor, factor].

    Args:
        factor: largest change, at least 0 and below 1; positive u make what is shown smaller.

    Example:
        >>> tl.augmentation.zoom(0.1).text
        'zoom=0.1'

    References:
        `keras.layers.RandomZoom`, with one factor for both sides.
    """
    return lambda key, size: zoom_map(symmetric(key, factor))


@augmentation("geometric")
def translation(factor: float) -> Callable[..., Any]:
    """Move images by parts of their height and width, each uniform in [-factor, factor].

    Args:
        factor: largest shift, at least 0 and at most 1.

    Example:
        >>> tl.augmentation.translation(0.1).text
        'translation=0.1'

    References:
        `keras.layers.RandomTranslation`.
    """

    def function(key: Tensor, size: tuple[int, int]) -> Affine:
        right, down = tf.unstack(uniform(key, 2, -factor, factor), axis=1)
        return shift(right * float(size[1]), down * float(size[0]))

    return function


@augmentation("geometric")
def shear(factor: float) -> Callable[..., Any]:
    """Shift rows in proportion to their height, and columns likewise.

    A row that is d pixels below the centre is moved by u d, u uniform in [-factor, factor]; a
    column by another u.

    Args:
        factor: largest u, at least 0 and at most 1.

    Example:
        >>> tl.augmentation.shear(0.2).text
        'shear=0.2'

    Differences:
        Keras: `RandomShear` leaves the upper left corner where it is instead of the centre, and
            draws only factors of one sign for both axes.

    References:
        `keras.layers.RandomShear`.
    """

    def function(key: Tensor, size: tuple[int, int]) -> Affine:
        return shear_map(symmetric(key, factor), symmetric(fold_in(key, 1), factor))

    return function


@augmentation("geometric")
def crop(padding: int) -> Callable[..., Any]:
    """Pad images and cut a part of the first size out at random.

    Args:
        padding: pixels that are added at each side, at least 1. The option `fill_mode` of `chain`
            says how they are filled: by default with the reflected image.

    Example:
        >>> tl.augmentation.crop(4).text
        'crop=4'

    References:
        He et al. 2016, "Deep residual learning for image recognition", section 4.2.
    """

    def function(key: Tensor, size: tuple[int, int]) -> Affine:
        moved = tf.floor(uniform(key, 2) * (2 * padding + 1)) - padding
        return shift(moved[:, 0], moved[:, 1])

    return function
