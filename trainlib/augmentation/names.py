"""`AUGMENTATIONS`, the steps by name, and chains written as text.

    flip=horizontal,rotation=0.1,randaugment=2:9,fill_mode=constant

A name alone takes the defaults; a step of several values has them between colons.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from trainlib.augmentation.chain import chain
from trainlib.augmentation.geometric import crop, flip, rotation, shear, translation, zoom
from trainlib.augmentation.mixing import cutmix, mixup
from trainlib.augmentation.pixels import (
    autocontrast,
    brightness,
    contrast,
    cutout,
    erasing,
    noise,
    saturation,
)
from trainlib.augmentation.randaugment import randaugment
from trainlib.augmentation.steps import Step
from trainlib.core.checks import check_choice
from trainlib.registry import hyperparameters
from trainlib.training.augmentation import Augmentation

AUGMENTATIONS: Mapping[str, Callable[..., Step]] = {
    "flip": flip,
    "rotation": rotation,
    "zoom": zoom,
    "translation": translation,
    "shear": shear,
    "crop": crop,
    "contrast": contrast,
    "brightness": brightness,
    "saturation": saturation,
    "noise": noise,
    "autocontrast": autocontrast,
    "cutout": cutout,
    "erasing": erasing,
    "randaugment": randaugment,
    "mixup": mixup,
    "cutmix": cutmix,
}
"""The steps by name."""
OPTIONS: Mapping[str, Callable[[str], Any]] = {"fill_mode": str, "fill_value": float}
"""The options of `chain` that a text may hold, and what reads them."""
_READ: Mapping[str, Callable[[str], Any]] = {"float": float, "int": int, "str": str}
_WORDS = {float: "a number", int: "an integer"}


def is_function(text: str) -> bool:
    """Return whether a text is `module:function` instead of steps by name.

    Example:
        >>> from trainlib.augmentation.names import is_function
        >>> is_function("my_module:my_function"), is_function("randaugment=2:9")
        (True, False)
    """
    return ":" in text and "=" not in text and "," not in text


def parse_chain(text: str, value_range: tuple[float, float] | None = None) -> Augmentation:
    """Return the augmentation that a text describes.

    Args:
        text: such as "flip=horizontal,rotation=0.1".
        value_range: as for `chain`. Default: None.

    Raises:
        ValueError: an unknown name, or a value that it does not take.

    Example:
        >>> tl.augmentation.parse_chain("flip, randaugment=2:9").name
        'flip=horizontal,randaugment=2:9'
    """
    steps, options = [], {}
    for part in text.split(","):
        name, _, value = (piece.strip() for piece in part.partition("="))
        if name in OPTIONS:
            options[name] = _read(f"{name} of augment", OPTIONS[name], value)
        else:
            check_choice("augmentation", name, [*AUGMENTATIONS, *OPTIONS])
            steps.append(_named(name, value))
    if not steps:
        known = ", ".join(AUGMENTATIONS)
        raise ValueError(f"augment must have a step, got {text!r}: choose from {known}")
    return chain(*steps, value_range=value_range, **options)


def _named(name: str, text: str) -> Step:
    """Return the step of a name; errors say that the setting `augment` holds it."""
    try:
        return _step(name, text)
    except (TypeError, ValueError) as error:
        said = str(error).removeprefix("augment: ")
        raise ValueError(f"augment: {said}") from None


def _step(name: str, text: str) -> Step:
    """Return the step of a name, with the values of a text."""
    declared = list(hyperparameters(AUGMENTATIONS[name]).values())
    values = text.split(":") if text else []
    required = sum(h.required for h in declared)
    if not required <= len(values) <= len(declared):
        written = ":".join(h.name for h in declared)
        raise ValueError(f"augment: write {name}={written}, got {len(values)} values")
    given = zip(declared, values, strict=False)
    return AUGMENTATIONS[name](
        *(_read(f"{h.name} of {name}", _READ[h.type], value) for h, value in given)
    )


def _read(name: str, read: Callable[[str], Any], text: str) -> Any:
    """Return the value that a text holds."""
    try:
        return read(text.strip())
    except ValueError:
        raise ValueError(f"{name} must be {_WORDS[read]}, got {text!r}") from None  # type: ignore[index]
