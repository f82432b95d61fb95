"""Schedules composed of other schedules.

A component schedule receives integer steps, counted from the step at which it begins.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from trainlib.core.checks import check_rate
from trainlib.core.types import ScalarOrSchedule, Schedule, Tensor
from trainlib.schedules.base import (
    checked_boundaries,
    checked_number,
    from_equation,
    periods,
    progress,
    rate_at_step,
)


def linear_warmup(
    initial_learning_rate: ScalarOrSchedule,
    warmup_steps: int,
    warmup_start: float = 0.0,
    dtype: Any = "float32",
) -> Schedule:
    """Increase the rate linearly, then keep it constant or follow a schedule.

        rate = s + (eta(0) - s) k / warmup_steps    for k < warmup_steps
               eta(k - warmup_steps)                afterwards

    Args:
        initial_learning_rate: eta: the rate after the warm-up, at least 0, or a schedule.
        warmup_steps: length of the warm-up in steps, at least 0.
        warmup_start: s, the rate at step 0, at least 0. Default: 0.
        dtype: dtype of the rate. Default: "float32".

    Returns:
        A schedule.

    Raises:
        ValueError, TypeError: an argument is out of range or of the wrong type.

    Example:
        >>> schedule = tl.linear_warmup(tl.cosine_decay(0.1, 100), warmup_steps=10)
        >>> np.round(schedule(tf.constant([0, 5, 10, 60])), 3)
        array([0.  , 0.05, 0.1 , 0.05], dtype=float32)

    References:
        Goyal et al. 2017, "Accurate, Large Minibatch SGD: Training ImageNet in 1 Hour".
    """
    check_rate("initial_learning_rate", initial_learning_rate)
    warmup_steps = checked_number("warmup_steps", warmup_steps, at_least=0)
    warmup_start = checked_number("warmup_start", warmup_start, at_least=0)

    def rate(k: Tensor) -> Tensor:
        target = rate_at_step(initial_learning_rate, tf.zeros_like(k))
        warming = warmup_start + (target - warmup_start) * progress(k, warmup_steps)
        following = rate_at_step(initial_learning_rate, k - warmup_steps)
        return tf.where(k < warmup_steps, warming, following)

    return from_equation(rate, dtype)


def join_schedules(
    schedules: Sequence[Schedule], boundaries: Sequence[int], dtype: Any = "float32"
) -> Schedule:
    """Follow several schedules in sequence, each starting from its step 0 at its boundary.

        rate = schedules[i](k - boundaries[i-1])    for  boundaries[i-1] <= k < boundaries[i]

    Args:
        schedules: at least one schedule.
        boundaries: strictly increasing steps, at least 0, one fewer than schedules.
        dtype: dtype of the rate. Default: "float32".

    Returns:
        A schedule.

    Raises:
        ValueError, TypeError: an argument is out of range or of the wrong type.

    Example:
        >>> parts = [tl.linear_warmup(0.1, 10), tl.exponential_decay(0.1, 10, 0.5)]
        >>> schedule = tl.join_schedules(parts, [20])
        >>> np.round(schedule(tf.constant([5, 15, 30])), 3)
        array([0.05, 0.1 , 0.05], dtype=float32)
    """
    steps = checked_boundaries(boundaries, "schedules", schedules)
    for each in schedules:
        _check_schedule("schedules", each)

    def rate(k: Tensor) -> Tensor:
        result = rate_at_step(schedules[0], k)
        for b, later in zip(steps, schedules[1:], strict=True):
            result = tf.where(k >= b, rate_at_step(later, k - b), result)
        return result

    return from_equation(rate, dtype)


def per_epoch(schedule: Schedule, steps_per_epoch: int, dtype: Any = "float32") -> Schedule:
    """Follow a schedule by the epoch instead of the step; the first epoch is 0.

        rate = schedule(floor(k / steps_per_epoch))

    Args:
        schedule: a function of the epoch.
        steps_per_epoch: steps in an epoch, above 0.
        dtype: dtype of the rate. Default: "float32".

    Returns:
        A schedule.

    Raises:
        ValueError, TypeError: an argument is out of range or of the wrong type.

    Example:
        >>> schedule = tl.per_epoch(tl.exponential_decay(0.1, 1, 0.5), steps_per_epoch=100)
        >>> np.round(schedule(tf.constant([0, 99, 100, 250])), 3)
        array([0.1  , 0.1  , 0.05 , 0.025], dtype=float32)
    """
    _check_schedule("schedule", schedule)
    steps_per_epoch = checked_number("steps_per_epoch", steps_per_epoch, above=0)
    return from_equation(lambda k: rate_at_step(schedule, periods(k, steps_per_epoch)), dtype)


def _check_schedule(name: str, value: Any) -> None:
    """Raise `TypeError` unless a value is callable."""
    if not callable(value):
        raise TypeError(f"{name} must be a schedule, a function of the step, got {value!r}")
