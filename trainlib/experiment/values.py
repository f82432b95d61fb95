"""Values of settings: their types, their text, and common checks."""

from __future__ import annotations

import numbers
import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from trainlib.training.paths import absolute

TYPES: Mapping[str, str] = {
    "bool": "true or false",
    "int": "an integer",
    "float": "a number",
    "str": "text",
    "path": "a path",
    "ints": "integers",
    "floats": "numbers",
    "strs": "words",
}
"""The types of values by name, in words. Values of a plural type are tuples."""

_ITEMS: Mapping[str, Callable[[str], Any]] = {"ints": int, "floats": float, "strs": str.strip}
_TRUE, _FALSE = ("true", "t", "1"), ("false", "f", "0")


def as_type(name: str, value: Any, kind: str) -> Any:
    """Convert a value to a type: `int`, `float`, `bool`, `str`, or a tuple of one of these.

    A path becomes absolute, and `~` the home folder.

    Args:
        name: name of the setting, for messages.
        value: a value of Python or NumPy.
        kind: one of `TYPES`.

    Raises:
        TypeError: the value has another type.
        ValueError: the value is text that does not fit in a line of a flag file.
    """
    if kind in _ITEMS:
        if isinstance(value, numbers.Real) and not isinstance(value, bool) and kind == "floats":
            value = (value,)  # one number is a sequence of one
        if isinstance(value, str) or not hasattr(value, "__iter__"):
            raise TypeError(f"{name} must be a sequence of {TYPES[kind]}, got {value!r}")
        return tuple(_word(name, as_type(name, x, kind[:-1])) for x in value)
    if isinstance(value, np.generic):
        value = value.item()
    is_bool = isinstance(value, bool)
    if kind == "bool" and is_bool:
        return value
    if kind == "int" and isinstance(value, numbers.Integral) and not is_bool:
        return int(value)
    if kind == "float" and isinstance(value, numbers.Real) and not is_bool:
        return float(value)
    if kind == "path" and isinstance(value, (str, os.PathLike)):
        return str(absolute(checked_line(name, os.fspath(value))))
    if kind == "str" and (isinstance(value, (str, numbers.Integral)) and not is_bool):
        return checked_line(name, str(value))
    raise TypeError(f"{name} must be {TYPES[kind]}, got {value!r}")


def checked_line(name: str, text: str) -> str:
    """Return text after checking that a line of a flag file can hold it.

    Raises:
        ValueError: the text has line breaks, or spaces at its ends.
    """
    if text != text.strip() or len(text.splitlines()) > 1:
        raise ValueError(f"{name} must be on one line, without spaces at its ends, got {text!r}")
    return text


def _word(name: str, value: Any) -> Any:
    if isinstance(value, str) and (not value or "," in value):
        raise ValueError(f"{name} must hold words without commas, got {value!r}")
    return value


def parsed(text: str, kind: str) -> Any:
    """Parse text as a value of a type; several values are comma-separated.

    Raises:
        ValueError: the text is not such a value.
    """
    try:
        if kind in _ITEMS:
            one = _ITEMS[kind]
            return tuple(one(part) for part in text.split(",")) if text else ()
        if kind == "bool":
            return _bool(text)
        return text if kind in ("str", "path") else _ITEMS[f"{kind}s"](text)
    except ValueError:
        several = ", comma-separated" if kind in _ITEMS else ""
        raise ValueError(f"{text!r} is not {TYPES[kind]}{several}") from None


def _bool(text: str) -> bool:
    if text.lower() not in _TRUE + _FALSE:
        raise ValueError(text)
    return text.lower() in _TRUE


def written(value: Any) -> str:
    """Return the text of a value, which `parsed` reads."""
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
