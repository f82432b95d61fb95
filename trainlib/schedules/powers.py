"""Decays in powers of the time that has passed, or that is left.

k is the number of updates made before this one, eta_0 the initial learning rate:

    inverse_time_decay    eta_0 / (1 + decay_rate k / decay_steps)
    power_decay           eta_0 / (1 + k / decay_steps)^power
    polynomial_decay      (eta_0 - eta_1) (1 - k / decay_steps)^power + eta_1
    inverse_sqrt_decay    eta_0 min(k / warmup_steps, sqrt(warmup_steps / k))
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from trainlib.core.types import Schedule, Tensor
from trainlib.schedules.base import from_equation, number, passed, periods, share


def inverse_time_decay(
    initial_learning_rate: float,
    decay_steps: int,
    decay_rate: float,
    staircase: bool = False,
    dtype: Any = "float32",
) -> Schedule:
    """The rate falls with the inverse of time.

        smoothly     rate = eta_0 / (1 + decay_rate k / decay_steps)
        staircase    rate = eta_0 / (1 + decay_rate floor(k / decay_steps))

    With decay_steps = 1 it is the `decay` argument of Keras's former optimizers.

    Args:
        initial_learning_rate: eta_0, at least 0.
        decay_steps: steps in which the denominator grows by decay_rate; above 0.
        decay_rate: at least 0.
        staircase: whether k / decay_steps is rounded down to a whole number.
        dtype: of the rate.

    Raises:
        ValueError, TypeError: an argument out of its range, or of another type.
    """
    eta_0 = number("initial_learning_rate", initial_learning_rate, at_least=0)
    decay_steps = number("decay_steps", decay_steps, above=0)
    decay_rate = number("decay_rate", decay_rate, at_least=0)

    def rate(k: Tensor) -> Tensor:
        return eta_0 / (1 + decay_rate * passed(k, decay_steps, staircase))

    return from_equation(rate, dtype)


def power_decay(
    initial_learning_rate: float, decay_steps: int, power: float = 1.0, dtype: Any = "float32"
) -> Schedule:
    """The rate falls as a power of time: with power 1 to 1/2, 1/3, 1/4 in equal times.

        rate = eta_0 / (1 + k / decay_steps)^power

    Args:
        initial_learning_rate: eta_0, at least 0.
        decay_steps: steps after which the rate has fallen to eta_0 / 2^power; above 0.
        power: above 0.
        dtype: of the rate.

    Raises:
        ValueError, TypeError: an argument out of its range, or of another type.
    """
    eta_0 = number("initial_learning_rate", initial_learning_rate, at_least=0)
    decay_steps = number("decay_steps", decay_steps, above=0)
    power = number("power", power, above=0)
    return from_equation(lambda k: eta_0 / (1 + k / decay_steps) ** power, dtype)


def polynomial_decay(
    initial_learning_rate: float,
    decay_steps: int,
    end_learning_rate: float = 1e-4,
    power: float = 1.0,
    cycle: bool = False,
    dtype: Any = "float32",
) -> Schedule:
    """The rate goes from eta_0 to eta_1 along a power of the time that is left.

        rate = (eta_0 - eta_1) ((D - min(k, D)) / D)^power + eta_1

    D is decay_steps. With `cycle` it is decay_steps max(1, ceil(k / decay_steps)), so that after
    each time at eta_1 the rate jumps up and falls again, more slowly.

    Args:
        initial_learning_rate: eta_0, at least 0.
        decay_steps: steps of the way to eta_1, above 0.
        end_learning_rate: eta_1, at least 0.
        power: above 0; 1 for a straight line.
        cycle: whether the way begins again after its end.
        dtype: of the rate.

    Raises:
        ValueError, TypeError: an argument out of its range, or of another type.
    """
    eta_0 = number("initial_learning_rate", initial_learning_rate, at_least=0)
    decay_steps = number("decay_steps", decay_steps, above=0)
    end_learning_rate = number("end_learning_rate", end_learning_rate, at_least=0)
    power = number("power", power, above=0)

    def rate(k: Tensor) -> Tensor:
        end = tf.constant(decay_steps, k.dtype)
        if cycle:
            whole = periods(k, decay_steps)
            begun = whole + tf.cast(k > whole * decay_steps, k.dtype)
            end *= tf.maximum(begun, 1)
        # (D - k) / D, not 1 - k / D, whose rounding a power below 1 would magnify at the end.
        left = tf.maximum(end - k, 0) / end
        return (eta_0 - end_learning_rate) * left**power + end_learning_rate

    return from_equation(rate, dtype)


def inverse_sqrt_decay(
    initial_learning_rate: float, warmup_steps: int, dtype: Any = "float32"
) -> Schedule:
    """A linear warm-up from 0 to eta_0, and a fall with the inverse square root of time.

        rate = eta_0 min(k / warmup_steps, sqrt(warmup_steps / k))

    With warmup_steps = 0 it is eta_0 / sqrt(max(k, 1)).

    Args:
        initial_learning_rate: eta_0, the largest rate, at least 0.
        warmup_steps: steps of the warm-up, at least 0.
        dtype: of the rate.

    Raises:
        ValueError, TypeError: an argument out of its range, or of another type.

    Differs from: the paper, which counts from 1 and writes eta_0 as 1 / sqrt(d_model warmup_steps).

    Reference: Vaswani et al. 2017, "Attention Is All You Need".
    """
    eta_0 = number("initial_learning_rate", initial_learning_rate, at_least=0)
    warmup_steps = number("warmup_steps", warmup_steps, at_least=0)
    peak = warmup_steps or 1

    def rate(k: Tensor) -> Tensor:
        return eta_0 * share(k, warmup_steps) * tf.sqrt(peak / tf.maximum(k, peak))

    return from_equation(rate, dtype)
