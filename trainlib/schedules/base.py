"""Helpers that schedules are built from: step counts, phases and periods."""

from __future__ import annotations

import itertools
import math
import numbers
from collections.abc import Callable, Sequence, Sized
from typing import Any, TypeVar

import tensorflow as tf

from trainlib.core.checks import check_number
from trainlib.core.tree import scalar
from trainlib.core.types import ScalarOrSchedule, Schedule, Tensor

Number = TypeVar("Number", bound=float)


def from_equation(rate: Callable[[Tensor], Tensor], dtype: Any) -> Schedule:
    """Make a schedule from its equation in k, a float64 tensor of any shape.

    Raises:
        TypeError: dtype is not floating.
    """
    dtype = tf.as_dtype(dtype)
    if not dtype.is_floating:
        raise TypeError(f"dtype must be floating, got {dtype.name}")
    return lambda step: tf.cast(rate(tf.cast(step, tf.float64)), dtype)


def checked_number(name: str, value: Number, **bounds: float) -> Number:
    """Return an argument as a Python number, after checking its bounds.

    Arithmetic on two NumPy numbers could be float32; on Python numbers it is float64.

    Args:
        name: name of the argument.
        value: a number.
        **bounds: as in `check_number`.

    Raises:
        ValueError, TypeError: the value is out of its bounds or not a number.
    """
    check_number(name, value, **bounds)
    exact: Any = int(value) if isinstance(value, numbers.Integral) else float(value)
    return exact  # type: ignore[no-any-return]


def over_time(
    equation: Callable[[float, Tensor], Tensor],
    initial_learning_rate: float,
    steps: tuple[str, float],
    staircase: bool,
    dtype: Any,
) -> Schedule:
    """Make a decay from its equation in eta_0 and the time t = k / steps, floor(k / steps).

    Args:
        equation: `(eta_0, t) -> learning rate`.
        initial_learning_rate: eta_0, at least 0.
        steps: the name and the value of the unit of time, in steps, above 0.
        staircase: whether t is rounded down to an integer.
        dtype: dtype of the rate.
    """
    eta_0 = checked_number("initial_learning_rate", initial_learning_rate, at_least=0)
    name, length = steps
    length = checked_number(name, length, above=0)

    def rate(k: Tensor) -> Tensor:
        return equation(eta_0, periods(k, length) if staircase else k / length)

    return from_equation(rate, dtype)


def rate_at_step(rate: ScalarOrSchedule, k: Tensor) -> Tensor:
    """Return a number, or a schedule's rate, at the float64 step k; negative steps count as 0."""
    if callable(rate):
        rate = rate(tf.cast(tf.maximum(k, 0), tf.int64))
    return tf.broadcast_to(scalar(rate, k), tf.shape(k))


def periods(k: Tensor, length: float) -> Tensor:
    """Return the number of complete periods, floor(k / length), exact for integers up to 2^53.

    Graphs and XLA multiply by a rounded 1 / length, by which 49 / 49 is less than 1: the quotient
    is corrected by its remainder.
    """
    quotient = tf.floor(k / length)
    remainder = k - quotient * length
    return quotient + tf.cast(remainder >= length, k.dtype) - tf.cast(remainder < 0, k.dtype)


def progress(k: Tensor, length: float) -> Tensor:
    """Return min(k / length, 1), exactly 1 at the end of the phase and for length 0."""
    part = k / length if length else tf.ones_like(k)
    return tf.where(k < length, part, tf.ones_like(k))


def falling_cosine(p: Tensor) -> Tensor:
    """Return (1 + cos(pi p)) / 2, which falls from 1 at p = 0 to 0 at p = 1."""
    return (1 + tf.cos(math.pi * p)) / 2


def checked_boundaries(
    boundaries: Sequence[float], name: str, pieces: Sequence[Any]
) -> list[float]:
    """Return boundaries as Python numbers, after checking them against the pieces between them.

    Raises:
        ValueError, TypeError: the boundaries are negative or not strictly increasing, or `pieces`
            is not one longer.
    """
    for argument, value in (("boundaries", boundaries), (name, pieces)):
        if not isinstance(value, Sized):
            raise TypeError(f"{argument} must be a sequence, got {value!r}")
    steps = [checked_number("boundaries", b, at_least=0) for b in boundaries]
    if any(a >= b for a, b in itertools.pairwise(steps)):
        raise ValueError(f"boundaries must be rising, got {list(boundaries)}")
    if len(pieces) != len(boundaries) + 1:
        raise ValueError(
            f"{name} must be one more than the {len(boundaries)} boundaries, got {len(pieces)}"
        )
    return steps
