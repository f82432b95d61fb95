"""`Step`, one augmentation of a chain, and how its factories are written.

A factory returns the function of its kind:

    geometric    (key, (height, width)) -> Affine
    pixels       (images, key, settings) -> images
    mixing       (images, other images, key) -> (images, share of the first, [n])

Images are [n, height, width, channels], floating, or of the dtype of the data for mixing; keys are
int64 [n, 2], one per image.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, ParamSpec

import tensorflow as tf

from trainlib.augmentation.affine import Affine, move, warp
from trainlib.augmentation.color import ValueRange
from trainlib.core.hyperparameters import check_declared, declared
from trainlib.core.random import uniform
from trainlib.core.types import Tensor

P = ParamSpec("P")


class Settings(NamedTuple):
    """What the steps of a chain share.

    Attributes:
        values: the values that pixels can have.
        fill_mode: what is outside an image, one of `FILL_MODES`.
        fill_value: the value outside, for "constant", and in the squares of `cutout`.
    """

    values: ValueRange
    fill_mode: str = "reflect"
    fill_value: float = 0.0

    def warp(self, images: Tensor, affine: Affine) -> Tensor:
        """Return images with affine maps applied."""
        return warp(images, affine, self.fill_mode, self.fill_value)

    def move(self, images: Tensor, affine: Affine) -> Tensor:
        """Return images with maps by whole pixels applied."""
        return move(images, affine, self.fill_mode, self.fill_value)


class Step(NamedTuple):
    """One augmentation, for `tl.augmentation.chain`.

    Attributes:
        text: the step as written in the flag --augment, such as "rotation=0.1".
        kind: "geometric", "pixels" or "mixing".
        function: the function of this kind, as the module describes it.
        uses_range: whether it uses the range of the values of pixels.
        is_for_rgb: whether it needs images of three channels.

    Example:
        >>> step = tl.augmentation.noise(0.1)
        >>> step.name, step.text, step.kind, step.uses_range
        ('noise', 'noise=0.1', 'pixels', True)
    """

    text: str
    kind: str
    function: Callable[..., Any]
    uses_range: bool = False
    is_for_rgb: bool = False

    @property
    def name(self) -> str:
        """The name of its factory."""
        return self.text.partition("=")[0]


def augmentation(
    kind: str, *, uses_range: bool = False, is_for_rgb: bool = False
) -> Callable[[Callable[P, Callable[..., Any]]], Callable[P, Step]]:
    """Return a decorator of factories, whose arguments are checked as they are declared.

    Args:
        kind: kind of the steps: "geometric", "pixels" or "mixing".
        uses_range, is_for_rgb: as those of `Step`.
    """

    def decorate(factory: Callable[P, Callable[..., Any]]) -> Callable[P, Step]:
        name, signature = factory.__name__, inspect.signature(factory)

        @functools.wraps(factory)
        def make(*args: P.args, **options: P.kwargs) -> Step:
            bound = signature.bind(*args, **options)
            bound.apply_defaults()
            for parameter, value in bound.arguments.items():
                _check(name, parameter, value)
            function = factory(*bound.args, **bound.kwargs)
            return Step(_text(name, bound.arguments), kind, function, uses_range, is_for_rgb)

        make.kind = "augmentation"  # type: ignore[attr-defined]
        make.__signature__ = signature.replace(return_annotation="Step")  # type: ignore[attr-defined]
        return make

    return decorate


def image_dtype(images: Tensor) -> Any:
    """Return the dtype in which images are computed: float64 if they are that, else float32."""
    return tf.float64 if images.dtype == tf.float64 else tf.float32


def symmetric(key: Tensor, limit: float) -> Tensor:
    """Return a number per image, uniform from -limit to limit, [n]."""
    return uniform(key, 1, -limit, limit)[:, 0]


def chosen(key: Tensor, probability: float) -> Tensor:
    """Return which images are changed, bools [n]."""
    return uniform(key, 1)[:, 0] < probability


def where_chosen(mask: Tensor, changed: Tensor, images: Tensor) -> Tensor:
    """Return the changed images where bools [n] say so, the images elsewhere."""
    return tf.where(mask[:, tf.newaxis, tf.newaxis, tf.newaxis], changed, images)


def _check(factory: str, parameter: str, value: Any) -> None:
    """Raise unless a value is as its parameter is declared."""
    declaration = declared("augmentation", factory, parameter)
    assert declaration is not None, (factory, parameter)
    check_declared(f"{parameter} of {factory}", value, declaration)


def _text(name: str, arguments: Mapping[str, Any]) -> str:
    """Return a factory and its arguments as a flag has them."""
    values = [f"{x:g}" if isinstance(x, float) else str(x) for x in arguments.values()]
    return f"{name}={':'.join(values)}"
