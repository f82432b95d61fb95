"""`chain`: several steps as one augmentation of images."""

from __future__ import annotations

import functools
import itertools
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from trainlib.augmentation.affine import FILL_MODES, compose
from trainlib.augmentation.color import ValueRange
from trainlib.augmentation.steps import Settings, Step, image_dtype
from trainlib.core.checks import check_choice, check_number
from trainlib.core.random import fold_in, integers
from trainlib.core.tree import with_rank
from trainlib.core.types import Tensor, Tree
from trainlib.training.augmentation import Augmentation, MixFunction

CHANNELS = (1, 3)
"""Numbers of channels that images have."""
WHOLE_PIXELS = ("flip", "crop")
"""Geometric steps that move and mirror images by whole pixels."""


class Link(NamedTuple):
    """A step in its chain.

    Attributes:
        step: the step.
        number: an integer that is folded into the keys, so that steps draw independently.
    """

    step: Step
    number: int

    def key(self, key: Tensor) -> Tensor:
        """Return the keys of this step."""
        return fold_in(key, self.number)


def chain(
    *steps: Step,
    fill_mode: str = "reflect",
    fill_value: float = 0.0,
    value_range: tuple[float, float] | None = None,
) -> Augmentation:
    """Return an augmentation, for the `augment` of a trainer, that applies steps in this order.

    Successive geometric steps are composed into one affine map, so that an image is interpolated
    once. The random numbers of a step depend neither on the other steps nor on its position.
    `mixup` and `cutmix` are applied after all other steps, wherever they stand, and mix an image
    with one that was changed by the same steps; if both are given, each image takes one of them,
    with probability 1/2.

    Images are [n, height, width, channels] with 1 or 3 channels, or [n, height, width], of any
    dtype. They are computed in float32, in float64 if they are that; integers are then rounded.
    Flips and crops alone move pixels as they are.

    Args:
        *steps: at least one, such as `tl.augmentation.flip()`.
        fill_mode: what is outside an image: "reflect", "constant", "nearest" or "wrap", as in
            Keras's layers. Default: "reflect".
        fill_value: the value outside, for "constant", and in the squares of `cutout`; in the range
            of the values, if a step changes values. Default: 0.
        value_range: lowest and highest value that pixels can have, for steps that change values,
            which are kept in this range. Default: None, (0, 255) for uint8; other images need it.

    Returns:
        An `Augmentation`.

    Raises:
        TypeError: a step is something else.
        ValueError: there is no step, or an argument is out of its range; and, when images come,
            a step does not suit them.

    Example:
        >>> augment = tl.augmentation.chain(
        ...     tl.augmentation.flip(), tl.augmentation.rotation(0.1), value_range=(0, 1))
        >>> augment.name
        'flip=horizontal,rotation=0.1,value_range=0:1'
        >>> images = tf.ones([2, 8, 8, 1])
        >>> key = tf.constant([[1, 2], [3, 4]], tf.int64)
        >>> x, y = augment.function(images, tf.constant([0, 1]), key)
        >>> x.shape
        TensorShape([2, 8, 8, 1])
    """
    _check_steps(steps)
    check_choice("fill_mode", fill_mode, FILL_MODES)
    check_number("fill_value", fill_value)
    values = None if value_range is None else _checked_range(value_range)
    links = list(_links(steps))
    changing = [link for link in links if link.step.kind != "mixing"]
    mixing = [link for link in links if link.step.kind == "mixing"]
    settings = functools.partial(_settings, steps, values, fill_mode, fill_value)

    def change(x: Tree, y: Tree, key: Tensor) -> tuple[Tree, Tree]:
        images = _as_images(x)
        return _like(_changed(changing, images, key, settings(x)), x), y

    options = [f"fill_mode={fill_mode}"] if fill_mode != "reflect" else []
    options += [f"fill_value={fill_value:g}"] if fill_value else []
    options += [f"value_range={values.low:g}:{values.high:g}"] if values else []
    name = ",".join([step.text for step in steps] + options)
    return Augmentation(change, name, _mix(mixing) if mixing else None)


def _links(steps: Sequence[Step]) -> Iterator[Link]:
    """Yield the steps with numbers that follow from their names, and from how often they occur."""
    seen: Counter[str] = Counter()
    for step in steps:
        yield Link(step, zlib.crc32(f"{step.name} {seen[step.name]}".encode()))
        seen[step.name] += 1


def _changed(links: Sequence[Link], images: Tensor, key: Tensor, settings: Settings) -> Tensor:
    """Return images that steps have changed."""
    size = images.shape[1], images.shape[2]
    for kind, group in itertools.groupby(links, lambda link: link.step.kind):
        members = list(group)
        if kind == "geometric":
            affine = compose([link.step.function(link.key(key), size) for link in members])
            if all(link.step.name in WHOLE_PIXELS for link in members):
                images = settings.move(images, affine)
            else:
                images = settings.warp(_floating(images), affine)
        else:
            images = _floating(images)
            for link in members:
                images = link.step.function(images, link.key(key), settings)
    return images


def _mix(links: Sequence[Link]) -> MixFunction:
    """Return a function that mixes images by one of some steps, which each key chooses."""

    def mix(x: Tree, other: Tree, key: Tensor) -> tuple[Tree, Tensor]:
        images, others = _with_channels(x), _with_channels(other)
        mixed = [link.step.function(images, others, link.key(key)) for link in links]
        index = integers(key, len(links))
        found, share = _like(mixed[0][0], x), mixed[0][1]
        for k, (image, part) in enumerate(mixed[1:], 1):
            here = index == k
            found = tf.where(with_rank(here, found.shape.rank), _like(image, x), found)
            share = tf.where(here, part, share)
        return found, share

    return mix


def _settings(
    steps: Sequence[Step],
    values: ValueRange | None,
    fill_mode: str,
    fill_value: float,
    images: Tensor,
) -> Settings:
    """Return what the steps share for some images, after checking that they suit these."""
    channels = images.shape[3] if images.shape.rank == 4 else 1
    for step in steps:
        if step.is_for_rgb and channels != 3:
            raise ValueError(
                f"augment: {step.name} needs images of 3 channels, got {channels}: leave it out"
            )
        if step.uses_range and values is None and images.dtype != tf.uint8:
            raise ValueError(
                f"augment: {step.name} needs the range of the values of {images.dtype.name} "
                "images: give value_range, such as (0, 1)"
            )
    values = values or ValueRange(0.0, 255.0)
    fills = fill_mode == "constant" or any(step.name == "cutout" for step in steps)
    inside = values.low <= fill_value <= values.high
    if fills and not inside and any(step.uses_range for step in steps):
        raise ValueError(
            f"augment: fill_value must be in the range of the values, {values.low:g} to "
            f"{values.high:g}, got {fill_value:g}"
        )
    return Settings(values, fill_mode, fill_value)


def _as_images(x: Tree) -> Tensor:
    """Return images as [n, height, width, channels].

    Raises:
        ValueError: they are no images.
    """
    if tf.nest.is_nested(x):
        raise ValueError(
            "augment: a model of several inputs needs a function (x, y, key) -> (x, y) that calls "
            "the function of tl.augmentation.chain with the input that holds images"
        )
    shape = x.shape
    if shape.rank not in (3, 4) or (shape.rank == 4 and shape[3] not in CHANNELS):
        first = " (are the channels first?)" if shape.rank == 4 and shape[1] in CHANNELS else ""
        raise ValueError(
            "augment is for images [n, height, width] or [n, height, width, channels] with 1 or 3 "
            f"channels, got x of shape {shape.as_list()}{first}: leave it out"
        )
    if None in shape[1:].as_list():
        raise ValueError(
            f"augment needs images of one size in a batch, got x of shape {shape.as_list()}"
        )
    if keras.config.image_data_format() != "channels_last" and shape.rank == 4:
        raise ValueError(
            "augment is for images with their channels last: set image_data_format in keras.json"
        )
    return _with_channels(x)


def _floating(images: Tensor) -> Tensor:
    """Return images in the dtype in which steps compute."""
    return tf.cast(images, image_dtype(images))


def _with_channels(x: Tensor) -> Tensor:
    """Return images as [n, height, width, channels]."""
    return x if x.shape.rank == 4 else x[..., tf.newaxis]


def _like(images: Tensor, x: Tensor) -> Tensor:
    """Return images in the shape and the dtype of others; floats become integers by rounding."""
    images = images if x.shape.rank == 4 else images[..., 0]
    if x.dtype.is_integer and images.dtype.is_floating:
        images = tf.clip_by_value(tf.round(images), x.dtype.min, x.dtype.max)
    return tf.cast(images, x.dtype)


def _check_steps(steps: Sequence[Any]) -> None:
    """Raise unless there are steps, and nothing else."""
    if not steps:
        raise ValueError("chain needs a step, such as tl.augmentation.flip()")
    for step in steps:
        if not isinstance(step, Step):
            called = f": write {step.__name__}(...)" if isinstance(step, Callable) else ""  # type: ignore[arg-type]
            raise TypeError(
                f"chain takes steps such as tl.augmentation.flip(), got {step!r}{called}"
            )


def _checked_range(value_range: Any) -> ValueRange:
    """Return a range of values, after checking it."""
    try:
        low, high = value_range
    except (TypeError, ValueError):
        raise TypeError(f"value_range must be (low, high), got {value_range!r}") from None
    for name, value in (("low", low), ("high", high)):
        check_number(f"{name} of value_range", value)
    if not low < high:
        raise ValueError(f"value_range must be (low, high) with low below high, got {value_range}")
    return ValueRange(float(low), float(high))
