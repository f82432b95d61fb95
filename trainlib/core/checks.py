"""Checks of arguments, with messages that name the argument, its value and what is allowed."""

from __future__ import annotations

import difflib
import math
import numbers
from collections.abc import Iterable, Sequence
from typing import Any

LARGEST_NUMBER = 2.0**127
"""Largest absolute value of a number argument: the largest power of 2 in float32."""
LARGEST_INTEGER = 2**31 - 1
"""Largest absolute value of an integer argument that has no other bound."""


def check_number(
    name: str,
    value: Any,
    *,
    at_least: float | None = None,
    above: float | None = None,
    at_most: float | None = None,
    below: float | None = None,
) -> None:
    """Raise unless a value is a finite Python number within the bounds, at most `LARGEST_NUMBER`.

    Tensors pass: their values are not known while a graph is traced.

    Args:
        name: name of the argument, for the message.
        value: the argument.
        at_least, above, at_most, below: the bounds. Default: None, none.

    Raises:
        ValueError: the number is not finite or out of bounds.
        TypeError: the value is neither a number nor a tensor.

    Example:
        >>> from trainlib.core.checks import check_number
        >>> check_number("rho", -1.0, at_least=0)
        Traceback (most recent call last):
        ValueError: rho must be at least 0, got -1.0
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        if hasattr(value, "dtype"):
            return
        raise TypeError(f"{name} must be a number, got {value!r}")
    x = as_float(value)
    inside = (
        abs(x) <= LARGEST_NUMBER
        and (at_least is None or x >= at_least)
        and (above is None or x > above)
        and (at_most is None or x <= at_most)
        and (below is None or x < below)
    )
    if not inside:
        bounds = {"at least": at_least, "above": above, "at most": at_most, "below": below}
        given = [f"{word} {bound:g}" for word, bound in bounds.items() if bound is not None]
        if math.isfinite(x) and abs(x) > LARGEST_NUMBER:
            given = [f"between {-LARGEST_NUMBER:g} and {LARGEST_NUMBER:g}", *given]
        wanted = " and ".join(given if math.isfinite(x) else ["finite", *given])
        raise ValueError(f"{name} must be {wanted}, got {value}")


def as_float(x: Any) -> float:
    """Return a number as a float, infinity for an integer that is too large for one."""
    try:
        return float(x)
    except OverflowError:
        return math.inf


def check_integer(
    name: str, value: Any, *, at_least: float | None = None, at_most: float | None = None
) -> None:
    """Raise unless a value is an integer of Python or NumPy within the bounds.

    Args:
        name: name of the argument, for the message.
        value: the argument.
        at_least: lower bound. Default: None, `-LARGEST_INTEGER`.
        at_most: upper bound. Default: None, `LARGEST_INTEGER`.

    Raises:
        ValueError: the integer is out of bounds.
        TypeError: the value is not an integer.
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{name} must be an integer, got {value!r}")
    low = -LARGEST_INTEGER if at_least is None else at_least
    high = LARGEST_INTEGER if at_most is None else at_most
    x = int(value)
    if not low <= x <= high:
        most = f" and at most {int(high)}" if at_most is not None or x > high else ""
        raise ValueError(f"{name} must be at least {int(low)}{most}, got {value}")


def check_rate(name: str, value: Any) -> None:
    """Raise unless a learning rate is a schedule, a tensor, or a number of at least 0."""
    check_not_class(name, "a number or a schedule", value)
    if not callable(value):
        check_number(name, value, at_least=0)


def check_not_class(name: str, wanted: str, value: Any) -> None:
    """Raise `TypeError` for a class in the place of an object or a function."""
    if isinstance(value, type):
        made = value.__name__
        raise TypeError(f"{name} must be {wanted}, got the class {made}: write {made}(...)")


def check_choice(kind: str, name: Any, choices: Iterable[str]) -> None:
    """Raise `ValueError` unless a name is among the choices; the message suggests the nearest."""
    choices = list(choices)
    if name in choices:
        return
    near = nearest(str(name), choices)
    hint = "" if near is None else f"did you mean {near!r}? "
    raise ValueError(f"unknown {kind} {name!r}: {hint}choose from {', '.join(choices)}")


def first_of(names: Sequence[str], count: int) -> str:
    """Return the first names as text for messages, with ", ..." if there are more than `count`."""
    return ", ".join(names[:count]) + (", ..." if len(names) > count else "")


def nearest(name: str, choices: Iterable[str]) -> str | None:
    """Return the choice that a misspelled or abbreviated name most likely means, if any.

    Example:
        >>> from trainlib.core.checks import nearest
        >>> nearest("MeanSquaredError", ["huber", "mean_squared_error"])
        'mean_squared_error'
    """
    folded = {_folded(choice): choice for choice in choices}
    key = _folded(name)
    similar = [key, *difflib.get_close_matches(key, folded, n=1)]
    longer = [choice for choice in folded if key and choice.startswith(key)]
    return next((folded[x] for x in [*similar, *longer] if x in folded), None)


def _folded(name: str) -> str:
    """Return a name without the differences of case and separators: "meansquarederror"."""
    return name.lower().replace("_", "").replace("-", "")
