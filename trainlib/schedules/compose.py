"""Schedules made of other schedules.

The other schedule is given whole steps, counted from where it begins.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from trainlib.core.checks import check_rate
from trainlib.core.types import ScalarOrSchedule, Schedule, Tensor
from trainlib.schedules.base import follow, from_equation, number, periods, rising, share


def linear_warmup(
    initial_learning_rate: ScalarOrSchedule,
    warmup_steps: int,
    warmup_start: float = 0.0,
    dtype: Any = "float32",
) -> Schedule:
    """The rate rises on a straight line to a rate that then stays, or to a schedule's first.

        rate = s + (eta(0) - s) k / warmup_steps    for k < warmup_steps
               eta(k - warmup_steps)                 then

    Args:
        initial_learning_rate: eta: the rate after the warm-up, at least 0, or a schedule.
        warmup_steps: at least 0.
        warmup_start: s, the rate at step 0, at least 0.
        dtype: of the rate.

    Raises:
        ValueError, TypeError: an argument out of its range, or of another type.

    Reference: Goyal et al. 2017, "Accurate, Large Minibatch SGD: Training ImageNet in 1 Hour".
    """
    check_rate("initial_learning_rate", initial_learning_rate)
    warmup_steps = number("warmup_steps", warmup_steps, at_least=0)
    warmup_start = number("warmup_start", warmup_start, at_least=0)

    def rate(k: Tensor) -> Tensor:
        target = follow(initial_learning_rate, tf.zeros_like(k))
        warming = warmup_start + (target - warmup_start) * share(k, warmup_steps)
        return tf.where(k < warmup_steps, warming, follow(initial_learning_rate, k - warmup_steps))

    return from_equation(rate, dtype)


def join_schedules(
    schedules: Sequence[Schedule], boundaries: Sequence[int], dtype: Any = "float32"
) -> Schedule:
    """Schedules one after the other, each beginning anew at its boundary.

        rate = schedules[i](k - boundaries[i-1])    for  boundaries[i-1] <= k < boundaries[i]

    Args:
        schedules: at least one.
        boundaries: steps at least 0, each above the one before, one fewer than schedules.
        dtype: of the rate.

    Raises:
        ValueError, TypeError: an argument out of its range, or of another type.
    """
    steps = rising(boundaries, "schedules", schedules)
    for each in schedules:
        _check_schedule("schedules", each)

    def rate(k: Tensor) -> Tensor:
        found = follow(schedules[0], k)
        for b, later in zip(steps, schedules[1:], strict=True):
            found = tf.where(k >= b, follow(later, k - b), found)
        return found

    return from_equation(rate, dtype)


def per_epoch(schedule: Schedule, steps_per_epoch: int, dtype: Any = "float32") -> Schedule:
    """A schedule by epochs: it is given the number of the epoch, 0 for the first.

        rate = schedule(floor(k / steps_per_epoch))

    Args:
        schedule: from the epoch to the rate.
        steps_per_epoch: steps of an epoch, above 0.
        dtype: of the rate.

    Raises:
        ValueError, TypeError: an argument out of its range, or of another type.
    """
    _check_schedule("schedule", schedule)
    steps_per_epoch = number("steps_per_epoch", steps_per_epoch, above=0)
    return from_equation(lambda k: follow(schedule, periods(k, steps_per_epoch)), dtype)


def _check_schedule(name: str, value: Any) -> None:
    if not callable(value):
        raise TypeError(f"{name} must be a schedule, a function of the step, got {value!r}")
