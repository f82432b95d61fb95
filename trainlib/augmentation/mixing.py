"""Steps that mix two images, and with them their targets: mixup and CutMix."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from trainlib.augmentation.boxes import Box, box_around, inside, random_pixel
from trainlib.augmentation.steps import augmentation, image_dtype
from trainlib.core.random import beta, fold_in
from trainlib.core.tree import with_rank
from trainlib.core.types import Tensor


@augmentation("mixing")
def mixup(alpha: float = 0.2) -> Callable[..., Any]:
    """Mix each image, and its target, with another one.

        out = share image + (1 - share) other,    share ~ Beta(alpha, alpha)

    Args:
        alpha: shape of the distribution, above 0: small values leave most images almost as they
            are. Default: 0.2.

    Example:
        >>> tl.augmentation.mixup(0.2).text
        'mixup=0.2'

    References:
        Zhang et al. 2018, "mixup: beyond empirical risk minimization"; `keras.layers.MixUp`.
    """

    def function(images: Tensor, other: Tensor, key: Tensor) -> tuple[Tensor, Tensor]:
        images, other = (tf.cast(x, image_dtype(images)) for x in (images, other))
        share = tf.cast(beta(key, alpha), images.dtype)
        return blend(images, other, share), share

    return function


@augmentation("mixing")
def cutmix(alpha: float = 1.0) -> Callable[..., Any]:
    """Replace a box in each image by that of another one, and mix the targets by their areas.

    The box has the form of the image, an area of 1 - share of it with share ~ Beta(alpha, alpha),
    and a random pixel as its centre. What is outside the image is cut off; the share of the target
    is that of the pixels that remain.

    Args:
        alpha: shape of the distribution, above 0. Default: 1, all areas are equally likely.

    Example:
        >>> tl.augmentation.cutmix().text
        'cutmix=1'

    Differences:
        Keras: `CutMix` draws alpha too, and places boxes inside the image.

    References:
        Yun et al. 2019, "CutMix: regularization strategy to train strong classifiers with
        localizable features"; `keras.layers.CutMix`.
    """

    def function(images: Tensor, other: Tensor, key: Tensor) -> tuple[Tensor, Tensor]:
        height, width = images.shape[1:3]
        side = tf.sqrt(1 - tf.cast(beta(fold_in(key, 0), alpha), tf.float32))
        size = [tf.cast(tf.floor(side * length), tf.int32) for length in (height, width)]
        centre = random_pixel(fold_in(key, 1), height, width)
        box = box_around(*centre, (size[0], size[1]), (height, width))
        return paste(images, other, box)

    return function


def blend(images: Tensor, other: Tensor, share: Tensor) -> Tensor:
    """Return share times the images, and the rest of other images; share is [n]."""
    part = with_rank(share, images.shape.rank)
    return part * images + (1 - part) * other


def paste(images: Tensor, other: Tensor, box: Box) -> tuple[Tensor, Tensor]:
    """Return images with boxes from other images, and the share of the image that is left, [n].

    Args:
        images, other: images of any dtype, which is kept.
        box: the boxes.
    """
    height, width = images.shape[1:3]
    pasted = tf.where(inside(box, height, width), other, images)
    area = (box.bottom - box.top) * (box.right - box.left)
    return pasted, 1 - tf.cast(area, image_dtype(images)) / (height * width)
