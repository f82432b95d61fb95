"""Exponential decays: the rate is multiplied by a constant factor at regular intervals."""

from __future__ import annotations

import math
from typing import Any

import tensorflow as tf

from trainlib.core.types import Schedule, Tensor
from trainlib.schedules.base import checked_number, from_equation, over_time


def exponential_decay(
    initial_learning_rate: float,
    decay_steps: int,
    decay_rate: float,
    staircase: bool = False,
    dtype: Any = "float32",
) -> Schedule:
    """Multiply the rate by decay_rate every decay_steps steps, continuously or in steps.

        rate = eta_0 decay_rate^(k / decay_steps)
        rate = eta_0 decay_rate^floor(k / decay_steps)     with staircase

    Args:
        initial_learning_rate: eta_0, at least 0.
        decay_steps: steps in which the rate is multiplied once by decay_rate; above 0.
        decay_rate: the factor, above 0.
        staircase: whether the exponent is rounded down to an integer. Default: False.
        dtype: dtype of the rate. Default: "float32".

    Returns:
        A schedule.

    Raises:
        ValueError, TypeError: an argument is out of range or of the wrong type.

    Example:
        >>> schedule = tl.exponential_decay(0.1, decay_steps=10, decay_rate=0.5, staircase=True)
        >>> np.round(schedule(tf.constant([0, 9, 10, 20])), 3)
        array([0.1  , 0.1  , 0.05 , 0.025], dtype=float32)

    Differences:
        Keras: in a compiled step, some rates with a staircase fall one step late, because
            TensorFlow rounds 49 / 49 to less than 1.
    """
    decay_rate = checked_number("decay_rate", decay_rate, above=0)

    def equation(eta_0: float, t: Tensor) -> Tensor:
        return eta_0 * decay_rate**t

    return over_time(
        equation, initial_learning_rate, ("decay_steps", decay_steps), staircase, dtype
    )


def step_decay(
    initial_learning_rate: float, step_size: int, drop: float = 0.5, dtype: Any = "float32"
) -> Schedule:
    """Multiply the rate by `drop` every step_size steps.

        rate = eta_0 drop^floor(k / step_size)

    Args:
        initial_learning_rate: eta_0, at least 0.
        step_size: steps between two drops, above 0.
        drop: the factor, above 0. Default: 0.5.
        dtype: dtype of the rate. Default: "float32".

    Returns:
        A schedule.

    Raises:
        ValueError, TypeError: an argument is out of range or of the wrong type.

    Example:
        >>> np.round(tl.step_decay(0.1, step_size=30)(tf.constant([29, 30, 60])), 3)
        array([0.1  , 0.05 , 0.025], dtype=float32)
    """
    drop = checked_number("drop", drop, above=0)
    steps = ("step_size", step_size)
    return over_time(lambda eta_0, t: eta_0 * drop**t, initial_learning_rate, steps, True, dtype)


def hold_then_decay(
    initial_learning_rate: float,
    hold_steps: int,
    decay_rate: float = math.exp(-0.1),
    dtype: Any = "float32",
) -> Schedule:
    """Keep the rate for hold_steps steps, then multiply it by decay_rate at each step.

        rate = eta_0 decay_rate^max(0, k - hold_steps + 1)

    Step hold_steps, the first after the hold, already has eta_0 decay_rate.

    Args:
        initial_learning_rate: eta_0, at least 0.
        hold_steps: steps with eta_0, at least 0.
        decay_rate: the factor, above 0. Default: e^-0.1.
        dtype: dtype of the rate. Default: "float32".

    Returns:
        A schedule.

    Raises:
        ValueError, TypeError: an argument is out of range or of the wrong type.

    Example:
        >>> schedule = tl.per_epoch(tl.hold_then_decay(0.01, hold_steps=10), steps_per_epoch=100)
        >>> np.round(schedule(tf.constant([0, 999, 1000, 2000])), 4)
        array([0.01  , 0.01  , 0.009 , 0.0033], dtype=float32)
    """
    eta_0 = checked_number("initial_learning_rate", initial_learning_rate, at_least=0)
    hold_steps = checked_number("hold_steps", hold_steps, at_least=0)
    decay_rate = checked_number("decay_rate", decay_rate, above=0)

    def rate(k: Tensor) -> Tensor:
        return eta_0 * decay_rate ** tf.maximum(k - hold_steps + 1, 0)

    return from_equation(rate, dtype)
