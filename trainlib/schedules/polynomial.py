"""Decays with a power of the elapsed time, or of the remaining time."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from trainlib.core.types import Schedule, Tensor
from trainlib.schedules.base import checked_number, from_equation, over_time, periods, progress


def inverse_time_decay(
    initial_learning_rate: float,
    decay_steps: int,
    decay_rate: float,
    staircase: bool = False,
    dtype: Any = "float32",
) -> Schedule:
    """Decay the rate with the inverse of time.

        rate = eta_0 / (1 + decay_rate k / decay_steps)
        rate = eta_0 / (1 + decay_rate floor(k / decay_steps))     with staircase

    With decay_steps = 1 this is the `decay` argument of Keras's legacy optimizers.

    Args:
        initial_learning_rate: eta_0, at least 0.
        decay_steps: steps in which the denominator grows by decay_rate; above 0.
        decay_rate: growth of the denominator, at least 0.
        staircase: whether k / decay_steps is rounded down to an integer. Default: False.
        dtype: dtype of the rate. Default: "float32".

    Returns:
        A schedule.

    Raises:
        ValueError, TypeError: an argument is out of range or of the wrong type.

    Example:
        >>> np.round(tl.inverse_time_decay(0.1, 10, 1.0)(tf.constant([0, 10, 30])), 3)
        array([0.1  , 0.05 , 0.025], dtype=float32)
    """
    decay_rate = checked_number("decay_rate", decay_rate, at_least=0)
    steps = ("decay_steps", decay_steps)
    return over_time(
        lambda eta_0, t: eta_0 / (1 + decay_rate * t),
        initial_learning_rate,
        steps,
        staircase,
        dtype,
    )


def power_decay(
    initial_learning_rate: float, decay_steps: int, power: float = 1.0, dtype: Any = "float32"
) -> Schedule:
    """Decay the rate with a power of time; with power 1 to 1/2, 1/3, 1/4 in equal intervals.

        rate = eta_0 / (1 + k / decay_steps)^power

    Args:
        initial_learning_rate: eta_0, at least 0.
        decay_steps: steps after which the rate has fallen to eta_0 / 2^power; above 0.
        power: the exponent, above 0. Default: 1.
        dtype: dtype of the rate. Default: "float32".

    Returns:
        A schedule.

    Raises:
        ValueError, TypeError: an argument is out of range or of the wrong type.

    Example:
        >>> np.round(tl.power_decay(0.1, 10, power=0.5)(tf.constant([0, 30])), 3)
        array([0.1 , 0.05], dtype=float32)
    """
    power = checked_number("power", power, above=0)
    steps = ("decay_steps", decay_steps)
    return over_time(
        lambda eta_0, t: eta_0 / (1 + t) ** power, initial_learning_rate, steps, False, dtype
    )


def polynomial_decay(
    initial_learning_rate: float,
    decay_steps: int,
    end_learning_rate: float = 1e-4,
    power: float = 1.0,
    cycle: bool = False,
    dtype: Any = "float32",
) -> Schedule:
    """Decay the rate to an end rate with a power of the remaining time.

        rate = (eta_0 - eta_1) ((D - min(k, D)) / D)^power + eta_1

    D is decay_steps. With `cycle` it is decay_steps max(1, ceil(k / decay_steps)): each time that
    the rate has reached eta_1 it jumps up and falls again, more slowly.

    Args:
        initial_learning_rate: eta_0, at least 0.
        decay_steps: steps until the rate reaches eta_1; above 0.
        end_learning_rate: eta_1, at least 0. Default: 1e-4.
        power: the exponent, above 0; 1 is linear. Default: 1.
        cycle: whether the decay restarts after its end. Default: False.
        dtype: dtype of the rate. Default: "float32".

    Returns:
        A schedule.

    Raises:
        ValueError, TypeError: an argument is out of range or of the wrong type.

    Example:
        >>> np.round(tl.polynomial_decay(0.1, 100, 0.02)(tf.constant([0, 50, 100, 999])), 3)
        array([0.1 , 0.06, 0.02, 0.02], dtype=float32)
    """
    eta_0 = checked_number("initial_learning_rate", initial_learning_rate, at_least=0)
    decay_steps = checked_number("decay_steps", decay_steps, above=0)
    end_learning_rate = checked_number("end_learning_rate", end_learning_rate, at_least=0)
    power = checked_number("power", power, above=0)

    def rate(k: Tensor) -> Tensor:
        end = tf.constant(decay_steps, k.dtype)
        if cycle:
            complete = periods(k, decay_steps)
            started = complete + tf.cast(k > complete * decay_steps, k.dtype)
            end *= tf.maximum(started, 1)
        # Not 1 - k / D: a power below 1 would magnify its rounding error at the end.
        left = tf.maximum(end - k, 0) / end
        return (eta_0 - end_learning_rate) * left**power + end_learning_rate

    return from_equation(rate, dtype)


def inverse_sqrt_decay(
    initial_learning_rate: float, warmup_steps: int, dtype: Any = "float32"
) -> Schedule:
    """Warm up linearly from 0 to eta_0, then decay with the inverse square root of time.

        rate = eta_0 min(k / warmup_steps, sqrt(warmup_steps / k))

    With warmup_steps = 0 the rate is eta_0 / sqrt(max(k, 1)).

    Args:
        initial_learning_rate: eta_0, the largest rate, at least 0.
        warmup_steps: length of the warm-up in steps, at least 0.
        dtype: dtype of the rate. Default: "float32".

    Returns:
        A schedule.

    Raises:
        ValueError, TypeError: an argument is out of range or of the wrong type.

    Example:
        >>> np.round(tl.inverse_sqrt_decay(0.1, 100)(tf.constant([0, 50, 100, 400])), 3)
        array([0.  , 0.05, 0.1 , 0.05], dtype=float32)

    Differences:
        Paper: steps are counted from 1, and eta_0 is written as 1 / sqrt(d_model warmup_steps).

    References:
        Vaswani et al. 2017, "Attention Is All You Need".
    """
    eta_0 = checked_number("initial_learning_rate", initial_learning_rate, at_least=0)
    warmup_steps = checked_number("warmup_steps", warmup_steps, at_least=0)
    peak = warmup_steps or 1

    def rate(k: Tensor) -> Tensor:
        return eta_0 * progress(k, warmup_steps) * tf.sqrt(peak / tf.maximum(k, peak))

    return from_equation(rate, dtype)
