"""Decays in powers of a number: the rate is multiplied by it again and again.

k is the number of updates made before this one, eta_0 the initial learning rate:

    exponential_decay     eta_0 decay_rate^(k / decay_steps)
    step_decay            eta_0 drop^floor(k / step_size)
    hold_then_decay       eta_0 decay_rate^max(0, k - hold_steps + 1)
"""

from __future__ import annotations

import math
from typing import Any

import tensorflow as tf

from trainlib.core.types import Schedule, Tensor
from trainlib.schedules.base import follow, from_equation, number, passed, periods


def constant_schedule(initial_learning_rate: float, dtype: Any = "float32") -> Schedule:
    """The same rate at every step.

        rate = eta_0

    Args:
        initial_learning_rate: eta_0, at least 0.
        dtype: of the rate.

    Raises:
        ValueError, TypeError: an argument out of its range, or of another type.
    """
    eta_0 = number("initial_learning_rate", initial_learning_rate, at_least=0)
    return from_equation(lambda k: follow(eta_0, k), dtype)


def exponential_decay(
    initial_learning_rate: float,
    decay_steps: int,
    decay_rate: float,
    staircase: bool = False,
    dtype: Any = "float32",
) -> Schedule:
    """The rate is multiplied by decay_rate every decay_steps steps, smoothly or at once.

        smoothly     rate = eta_0 decay_rate^(k / decay_steps)
        staircase    rate = eta_0 decay_rate^floor(k / decay_steps)

    Args:
        initial_learning_rate: eta_0, at least 0.
        decay_steps: steps in which the rate falls once by decay_rate; above 0.
        decay_rate: above 0.
        staircase: whether the exponent is rounded down to a whole number.
        dtype: of the rate.

    Raises:
        ValueError, TypeError: an argument out of its range, or of another type.

    Differs from: Keras with the staircase in a compiled step, where some steps of a fall keep the
    rate before it: there TensorFlow rounds 49 / 49 to less than 1. Here every fall is in time.
    """
    eta_0 = number("initial_learning_rate", initial_learning_rate, at_least=0)
    decay_steps = number("decay_steps", decay_steps, above=0)
    decay_rate = number("decay_rate", decay_rate, above=0)

    def rate(k: Tensor) -> Tensor:
        return eta_0 * decay_rate ** passed(k, decay_steps, staircase)

    return from_equation(rate, dtype)


def step_decay(
    initial_learning_rate: float, step_size: int, drop: float = 0.5, dtype: Any = "float32"
) -> Schedule:
    """The rate is multiplied by `drop` at once, every step_size steps.

        rate = eta_0 drop^floor(k / step_size)

    Args:
        initial_learning_rate: eta_0, at least 0.
        step_size: steps from one fall to the next, above 0.
        drop: what the rate is multiplied by, above 0.
        dtype: of the rate.

    Raises:
        ValueError, TypeError: an argument out of its range, or of another type.
    """
    eta_0 = number("initial_learning_rate", initial_learning_rate, at_least=0)
    step_size = number("step_size", step_size, above=0)
    drop = number("drop", drop, above=0)
    return from_equation(lambda k: eta_0 * drop ** periods(k, step_size), dtype)


def hold_then_decay(
    initial_learning_rate: float,
    hold_steps: int,
    decay_rate: float = math.exp(-0.1),
    dtype: Any = "float32",
) -> Schedule:
    """The rate stays for hold_steps steps, and is multiplied by decay_rate at each one after.

        rate = eta_0 decay_rate^max(0, k - hold_steps + 1)

    Step hold_steps, the first that is not held, has eta_0 decay_rate already.

    Args:
        initial_learning_rate: eta_0, at least 0.
        hold_steps: steps with eta_0, at least 0.
        decay_rate: above 0; by default e^-0.1.
        dtype: of the rate.

    Raises:
        ValueError, TypeError: an argument out of its range, or of another type.
    """
    eta_0 = number("initial_learning_rate", initial_learning_rate, at_least=0)
    hold_steps = number("hold_steps", hold_steps, at_least=0)
    decay_rate = number("decay_rate", decay_rate, above=0)

    def rate(k: Tensor) -> Tensor:
        return eta_0 * decay_rate ** tf.maximum(k - hold_steps + 1, 0)

    return from_equation(rate, dtype)
