"""What schedules are made of: a count of steps, shares of a phase, whole periods."""

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
    """A schedule from its equation in k, a float64 tensor of any shape.

    Raises:
        TypeError: a dtype that is not floating.
    """
    dtype = tf.as_dtype(dtype)
    if not dtype.is_floating:
        raise TypeError(f"dtype must be floating, got {dtype.name}")
    return lambda step: tf.cast(rate(tf.cast(step, tf.float64)), dtype)


def number(name: str, value: Number, **bounds: float) -> Number:
    """An argument as a Python number: what is made of two of NumPy's may be float32.

    Args:
        name: of the argument.
        value: a number.
        **bounds: as in `check_number`.

    Raises:
        ValueError, TypeError: a number out of its bounds, or none.
    """
    check_number(name, value, **bounds)
    exact: Any = int(value) if isinstance(value, numbers.Integral) else float(value)
    return exact  # type: ignore[no-any-return]


def follow(rate: ScalarOrSchedule, k: Tensor) -> Tensor:
    """The rate of a schedule, or a number, at the float64 step k; steps below 0 count as 0."""
    if callable(rate):
        rate = rate(tf.cast(tf.maximum(k, 0), tf.int64))
    return tf.broadcast_to(scalar(rate, k), tf.shape(k))


def periods(k: Tensor, length: float) -> Tensor:
    """floor(k / length), exact for whole numbers up to 2^53.

    Graphs and XLA multiply by a rounded 1 / length, where 49 / 49 is less than 1: the quotient is
    mended by what it leaves.
    """
    quotient = tf.floor(k / length)
    rest = k - quotient * length
    return quotient + tf.cast(rest >= length, k.dtype) - tf.cast(rest < 0, k.dtype)


def passed(k: Tensor, length: float, staircase: bool) -> Tensor:
    """How many lengths have passed, whole or not."""
    return periods(k, length) if staircase else k / length


def share(k: Tensor, length: float) -> Tensor:
    """min(k / length, 1): how much of a phase has passed; exactly 1 at its end, 1 for length 0."""
    part = k / length if length else tf.ones_like(k)
    return tf.where(k < length, part, tf.ones_like(k))


def falling_cosine(p: Tensor) -> Tensor:
    """(1 + cos(pi p)) / 2: from 1 at p = 0 down to 0 at p = 1."""
    return (1 + tf.cos(math.pi * p)) / 2


def rising(boundaries: Sequence[float], name: str, pieces: Sequence[Any]) -> list[float]:
    """Boundaries as Python numbers.

    Raises:
        ValueError, TypeError: they do not rise from at least 0, or part as many pieces as there
            are.
    """
    for argument, value in (("boundaries", boundaries), (name, pieces)):
        if not isinstance(value, Sized):
            raise TypeError(f"{argument} must be a sequence, got {value!r}")
    found = [number("boundaries", b, at_least=0) for b in boundaries]
    if any(a >= b for a, b in itertools.pairwise(found)):
        raise ValueError(f"boundaries must be rising, got {list(boundaries)}")
    if len(pieces) != len(boundaries) + 1:
        raise ValueError(
            f"{name} must be one more than the {len(boundaries)} boundaries, got {len(pieces)}"
        )
    return found
