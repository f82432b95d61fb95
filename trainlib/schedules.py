"""Learning-rate schedules: pure functions `step -> rate`.

k is the number of updates made before this one: 0 at the first. Rates are computed in float64,
where k is exact to 2^53, and returned in `dtype`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from trainlib.base import Schedule, Tensor
from trainlib.checks import check_number


def constant(initial_learning_rate: float, dtype: Any = "float32") -> Schedule:
    """rate = eta_0.

    Args:
        initial_learning_rate: eta_0, at least 0.
        dtype: of the rate.
    """
    check_number("initial_learning_rate", initial_learning_rate, at_least=0)
    return _schedule(lambda k: tf.constant(initial_learning_rate, tf.float64), dtype)


def exponential_decay(
    initial_learning_rate: float,
    decay_steps: int,
    decay_rate: float,
    staircase: bool = False,
    dtype: Any = "float32",
) -> Schedule:
    """rate = eta_0 decay_rate^(k / decay_steps).

    Args:
        initial_learning_rate: eta_0, at least 0.
        decay_steps: steps in which the rate falls once by decay_rate; above 0.
        decay_rate: above 0.
        staircase: whether the exponent is rounded down to a whole number.
        dtype: of the rate.

    Raises:
        ValueError, TypeError: an argument out of its range, or of another type.
    """
    check_number("initial_learning_rate", initial_learning_rate, at_least=0)
    check_number("decay_steps", decay_steps, above=0)
    check_number("decay_rate", decay_rate, above=0)

    def rate(k: Tensor) -> Tensor:
        p = k / decay_steps
        if staircase:
            p = tf.floor(p)
        return initial_learning_rate * decay_rate**p

    return _schedule(rate, dtype)


def cosine_decay(
    initial_learning_rate: float,
    decay_steps: int,
    alpha: float = 0.0,
    warmup_target: float | None = None,
    warmup_steps: int = 0,
    dtype: Any = "float32",
) -> Schedule:
    """Half a cosine from eta_0 down to alpha eta_0, after a linear warm-up where one is asked for.

        rate = eta_0 ((1 - alpha) (1 + cos(pi min(k, decay_steps) / decay_steps)) / 2 + alpha)

    With warmup_target, the rate first rises in warmup_steps from eta_0 to the target,

        rate = eta_0 + (warmup_target - eta_0) k / warmup_steps       for k < warmup_steps,

    and then follows the cosine from warmup_target, with k - warmup_steps in the place of k.

    Args:
        initial_learning_rate: eta_0, at least 0.
        decay_steps: length of the cosine in steps, above 0; the warm-up comes on top of it.
        alpha: the last rate as a share of the largest, at least 0.
        warmup_target: the rate that the warm-up reaches, at least 0; None for no warm-up.
        warmup_steps: length of the warm-up in steps, at least 0.
        dtype: of the rate.

    Raises:
        ValueError, TypeError: an argument out of its range, or of another type.

    Differs from: Optax, whose decay_steps include the warm-up; PyTorch, whose cosine rises again
    after its end.

    Reference: Loshchilov and Hutter 2017, "SGDR: Stochastic Gradient Descent with Warm Restarts".
    """
    check_number("initial_learning_rate", initial_learning_rate, at_least=0)
    check_number("decay_steps", decay_steps, above=0)
    check_number("alpha", alpha, at_least=0)
    check_number("warmup_steps", warmup_steps, at_least=0)
    if warmup_target is None and warmup_steps:
        raise ValueError(f"warmup_steps={warmup_steps} needs a warmup_target, the rate to reach")

    def cosine(k: Tensor, eta_0: float) -> Tensor:
        p = tf.minimum(k, decay_steps) / decay_steps
        return eta_0 * ((1 - alpha) * (1 + tf.cos(math.pi * p)) / 2 + alpha)

    if warmup_target is None:
        return _schedule(lambda k: cosine(k, initial_learning_rate), dtype)
    check_number("warmup_target", warmup_target, at_least=0)
    target = warmup_target

    def warmed_up(k: Tensor) -> Tensor:
        rising = initial_learning_rate + (target - initial_learning_rate) * k / warmup_steps
        return tf.where(k < warmup_steps, rising, cosine(k - warmup_steps, target))

    return _schedule(warmed_up, dtype)


def _schedule(rate: Callable[[Tensor], Tensor], dtype: Any) -> Schedule:
    """A schedule from its equation in a float64 k."""
    return lambda step: tf.cast(rate(tf.cast(step, tf.float64)), dtype)
