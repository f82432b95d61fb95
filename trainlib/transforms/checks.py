"""Checks that the transforms share."""

from __future__ import annotations

from typing import Any

from trainlib.core.checks import check_number
from trainlib.core.types import Optimizer


def check_optimizer(optimizer: Any, where: str) -> None:
    """Raises `TypeError` for what is not an `Optimizer`: a factory that was not called, say."""
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"{where} takes an Optimizer such as tl.adam(), got {optimizer!r}")


def check_count(name: str, value: int) -> None:
    """Raises unless a value is a whole number of at least 1."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be a whole number, got {value!r}")
    check_number(name, value, at_least=1)
