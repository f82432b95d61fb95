"""Checks of arguments: one clear line that names the argument, its value and what is allowed."""

from __future__ import annotations

import difflib
import math
import numbers
from collections.abc import Iterable
from typing import Any


def check_number(
    name: str,
    value: Any,
    *,
    at_least: float | None = None,
    above: float | None = None,
    at_most: float | None = None,
    below: float | None = None,
) -> None:
    """Raises unless a Python number is finite and within the bounds.

    Tensors pass: their values are not known while a graph is traced.
    """
    if isinstance(value, bool) or isinstance(value, str) or value is None:
        raise TypeError(f"{name} must be a number, got {value!r}")
    if not isinstance(value, numbers.Real):
        return
    value = float(value)
    inside = (
        math.isfinite(value)
        and (at_least is None or value >= at_least)
        and (above is None or value > above)
        and (at_most is None or value <= at_most)
        and (below is None or value < below)
    )
    if not inside:
        bounds = {"at least": at_least, "above": above, "at most": at_most, "below": below}
        wanted = " and ".join(f"{word} {x:g}" for word, x in bounds.items() if x is not None)
        raise ValueError(f"{name} must be {wanted or 'finite'}, got {value!r}")


def check_rate(name: str, value: Any) -> None:
    """Raises unless a learning rate is a schedule, a tensor, or a number of at least 0."""
    if not callable(value):
        check_number(name, value, at_least=0)


def check_choice(kind: str, name: Any, choices: Iterable[str]) -> None:
    """Raises `ValueError` for a name that is not among the choices, with the nearest of them."""
    choices = list(choices)
    if name in choices:
        return
    near = difflib.get_close_matches(str(name), choices, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise ValueError(f"unknown {kind} {name!r}: {hint}there are {', '.join(choices)}")
