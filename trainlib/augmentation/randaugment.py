"""RandAugment: some of fourteen operations, chosen at random for each image, of one strength."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import tensorflow as tf

from trainlib.augmentation import color
from trainlib.augmentation.affine import rotation_map, shear_map, shift
from trainlib.augmentation.steps import Settings, augmentation
from trainlib.core.random import fold_in, uniform
from trainlib.core.types import Tensor

LARGEST = 30
"""The largest magnitude."""
Operation: TypeAlias = Callable[[Tensor, Tensor, float, Settings], Tensor]
"""`(images, signs, strength, settings) -> images`: signs are -1 or 1, [n]; strength in [0, 1]."""


@augmentation("pixels", uses_range=True)
def randaugment(num_ops: int = 2, magnitude: float = 9.0) -> Callable[..., Any]:
    """Apply `num_ops` of fourteen operations, chosen at random for each image, with one strength.

    With m = magnitude / 30 the operations are: identity; autocontrast; equalize; rotate by 30 m
    degrees; shear in x or in y by 0.3 m; translate in x or in y by 150 / 331 m of the side;
    brightness, color, contrast and sharpness by 1 + 0.9 m or 1 - 0.9 m; posterize to
    8 - round(4 m) bits; solarize from high - m (high - low) on. Directions are random.

    Args:
        num_ops: operations on each image, at least 1. Default: 2.
        magnitude: strength, from 0 to 30. Default: 9.

    Example:
        >>> tl.augmentation.randaugment(2, 9).text
        'randaugment=2:9'

    Differences:
        Keras: `RandAugment` draws the operations once for a batch, and the strength of each
            uniformly up to its factor; it has no identity.

    References:
        Cubuk et al. 2019, "RandAugment: practical automated data augmentation with a reduced search
        space"; ranges of Cubuk et al. 2018, "AutoAugment", Table 6.
    """
    operations = list(OPERATIONS.values())

    def function(images: Tensor, key: Tensor, settings: Settings) -> Tensor:
        for k in range(num_ops):
            u = uniform(fold_in(key, k), 2)
            index = tf.cast(tf.floor(u[:, 0] * len(operations)), tf.int32)
            signs = tf.where(u[:, 1] < 0.5, -1.0, 1.0)
            images = _each(operations, index, images, signs, magnitude / LARGEST, settings)
        return images

    return function


def _each(
    operations: list[Operation],
    index: Tensor,
    images: Tensor,
    signs: Tensor,
    strength: float,
    settings: Settings,
) -> Tensor:
    """Return images, each changed by the operation of its index."""
    count = len(operations)
    positions = tf.dynamic_partition(tf.range(tf.size(index)), index, count)
    parts = [tf.dynamic_partition(x, index, count) for x in (images, signs)]
    changed = [
        operation(x, sign, strength, settings)
        for operation, x, sign in zip(operations, *parts, strict=True)
    ]
    return tf.ensure_shape(tf.dynamic_stitch(positions, changed), images.shape)


def _shift_of(images: Tensor, axis: int, signs: Tensor, strength: float) -> Tensor:
    """Return the pixels by which images are moved along an axis."""
    return signs * (strength * 150 / 331 * images.shape[axis])


def _towards(first: Callable[[Tensor, Settings], Tensor]) -> Operation:
    """Return an operation that moves images away from others made of them, or towards them."""

    def operation(images: Tensor, signs: Tensor, strength: float, settings: Settings) -> Tensor:
        factor = 1 + 0.9 * strength * signs
        return color.blend(first(images, settings), images, factor, settings.values)

    return operation


def _rotate(images: Tensor, signs: Tensor, strength: float, settings: Settings) -> Tensor:
    return settings.warp(images, rotation_map(signs * math.radians(30 * strength)))


def _shear_x(images: Tensor, signs: Tensor, strength: float, settings: Settings) -> Tensor:
    return settings.warp(images, shear_map(0.3 * strength * signs, tf.zeros_like(signs)))


def _shear_y(images: Tensor, signs: Tensor, strength: float, settings: Settings) -> Tensor:
    return settings.warp(images, shear_map(tf.zeros_like(signs), 0.3 * strength * signs))


def _translate_x(images: Tensor, signs: Tensor, strength: float, settings: Settings) -> Tensor:
    moved = _shift_of(images, 2, signs, strength)
    return settings.warp(images, shift(moved, tf.zeros_like(moved)))


def _translate_y(images: Tensor, signs: Tensor, strength: float, settings: Settings) -> Tensor:
    moved = _shift_of(images, 1, signs, strength)
    return settings.warp(images, shift(tf.zeros_like(moved), moved))


def _posterize(images: Tensor, signs: Tensor, strength: float, settings: Settings) -> Tensor:
    bits = tf.fill(tf.shape(signs), 8 - round(4 * strength))
    return color.posterize(images, bits, settings.values)


def _solarize(images: Tensor, signs: Tensor, strength: float, settings: Settings) -> Tensor:
    values = settings.values
    threshold = tf.fill(tf.shape(signs), values.high - strength * values.size)
    return color.solarize(images, threshold, values)


def _mean_gray(images: Tensor, settings: Settings) -> Tensor:
    return tf.zeros_like(images) + color.channel_mean(color.grayscale(images))


OPERATIONS: Mapping[str, Operation] = {
    "identity": lambda images, signs, strength, settings: images,
    "autocontrast": lambda images, signs, strength, s: color.autocontrast(images, s.values),
    "equalize": lambda images, signs, strength, s: color.equalize(images, s.values),
    "rotate": _rotate,
    "shear_x": _shear_x,
    "shear_y": _shear_y,
    "translate_x": _translate_x,
    "translate_y": _translate_y,
    "brightness": _towards(lambda images, s: tf.zeros_like(images) + s.values.low),
    "color": _towards(lambda images, s: tf.zeros_like(images) + color.grayscale(images)),
    "contrast": _towards(_mean_gray),
    "sharpness": _towards(lambda images, s: color.smooth(images)),
    "posterize": _posterize,
    "solarize": _solarize,
}
"""The operations by name."""
