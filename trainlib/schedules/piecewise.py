"""Schedules of constant and linear pieces."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from trainlib.core.checks import check_choice
from trainlib.core.conventions import BY_CONVENTION, conventions
from trainlib.core.types import Schedule, Tensor
from trainlib.schedules.base import (
    checked_boundaries,
    checked_number,
    from_equation,
    progress,
    rate_at_step,
)

BOUNDARY_SIDES = ("old", "new")
COOLDOWN_SHAPES = ("linear", "sqrt")

_NEW = {"boundary": "new"}


def constant_schedule(initial_learning_rate: float, dtype: Any = "float32") -> Schedule:
    """Keep the same rate at every step.

        rate = eta_0

    Args:
        initial_learning_rate: eta_0, at least 0.
        dtype: dtype of the rate. Default: "float32".

    Returns:
        A schedule.

    Raises:
        ValueError, TypeError: an argument is out of range or of the wrong type.

    Example:
        >>> tl.constant_schedule(0.5)(tf.constant([0, 1000])).numpy()
        array([0.5, 0.5], dtype=float32)
    """
    eta_0 = checked_number("initial_learning_rate", initial_learning_rate, at_least=0)
    return from_equation(lambda k: rate_at_step(eta_0, k), dtype)


@conventions(keras={"boundary": "old"}, torch=_NEW, optax=_NEW)
def piecewise_constant(
    boundaries: Sequence[int],
    values: Sequence[float],
    boundary: str = BY_CONVENTION,
    convention: str = "keras",
    dtype: Any = "float32",
) -> Schedule:
    """Use one constant rate after another, each up to its boundary.

        old    rate = values[i]  for  boundaries[i-1] <  k <= boundaries[i]
        new    rate = values[i]  for  boundaries[i-1] <= k <  boundaries[i]

    "0.01 for 5 steps, 0.005 until step 15, then 0.001" has the boundaries [5, 15] with "new" and
    [4, 14] with "old".

    Args:
        boundaries: strictly increasing steps, at least 0.
        values: the rates, one more than boundaries, at least 0.
        boundary: whether the step of a boundary still has the "old" rate or already the "new" one.
            Default: "old" (keras), "new" (torch, optax).
        convention: "keras", "torch" or "optax". Default: "keras".
        dtype: dtype of the rate. Default: "float32".

    Returns:
        A schedule.

    Raises:
        ValueError, TypeError: an argument is out of range or of the wrong type.

    Example:
        >>> schedule = tl.piecewise_constant([5, 15], [0.01, 0.005, 0.001], boundary="new")
        >>> np.round(schedule(tf.constant([4, 5, 15])), 4)
        array([0.01 , 0.005, 0.001], dtype=float32)

    Differences:
        PyTorch, Optax: the ratios of successive rates are given instead of the rates.
    """
    steps = checked_boundaries(boundaries, "values", values)
    rates = [checked_number("values", value, at_least=0) for value in values]
    check_choice("boundary", boundary, BOUNDARY_SIDES)

    def rate(k: Tensor) -> Tensor:
        result = rate_at_step(rates[0], k)
        for b, later in zip(steps, rates[1:], strict=True):
            passed = k > b if boundary == "old" else k >= b
            result = tf.where(passed, rate_at_step(later, k), result)
        return result

    return from_equation(rate, dtype)


def warmup_stable_decay(
    initial_learning_rate: float,
    total_steps: int,
    warmup_steps: int = 0,
    cooldown_steps: int | None = None,
    alpha: float = 0.0,
    cooldown_shape: str = "linear",
    dtype: Any = "float32",
) -> Schedule:
    """Warm up linearly from 0, keep the rate constant, and decay it at the end of the run.

        rate = eta_0 k / warmup_steps            for k < warmup_steps
               eta_0                             in between
               eta_0 (1 - f + alpha f)           for the last cooldown_steps of total_steps

        linear    f = p
        sqrt      f = sqrt(p)

    p in [0, 1] is the progress of the cooldown. After total_steps the rate keeps its last value.

    Args:
        initial_learning_rate: eta_0, the constant rate, at least 0.
        total_steps: steps of all three phases together, above 0.
        warmup_steps: length of the warm-up in steps, at least 0. Default: 0.
        cooldown_steps: length of the cooldown in steps, at least 0; with warmup_steps at most
            total_steps. Default: None, a fifth of total_steps, rounded down, or what the warm-up
            leaves of it.
        alpha: the final rate as a fraction of eta_0, at least 0. Default: 0.
        cooldown_shape: "linear", or "sqrt", which falls fast at first. Default: "linear".
        dtype: dtype of the rate. Default: "float32".

    Returns:
        A schedule.

    Raises:
        ValueError, TypeError: an argument is out of range or of the wrong type.

    Example:
        >>> schedule = tl.warmup_stable_decay(0.1, total_steps=100, warmup_steps=10)
        >>> np.round(schedule(tf.constant([0, 5, 10, 80, 90, 100])), 3)
        array([0.  , 0.05, 0.1 , 0.1 , 0.05, 0.  ], dtype=float32)

    References:
        Hägele et al. 2024, "Scaling Laws and Compute-Optimal Training Beyond Fixed Training
        Durations".
    """
    eta_0 = checked_number("initial_learning_rate", initial_learning_rate, at_least=0)
    total_steps = checked_number("total_steps", total_steps, above=0)
    warmup_steps = checked_number("warmup_steps", warmup_steps, at_least=0, at_most=total_steps)
    left = total_steps - warmup_steps
    if cooldown_steps is None:
        cooldown_steps = min(math.floor(total_steps / 5), left)
    cooldown = checked_number("cooldown_steps", cooldown_steps, at_least=0, at_most=left)
    alpha = checked_number("alpha", alpha, at_least=0)
    check_choice("cooldown_shape", cooldown_shape, COOLDOWN_SHAPES)
    cooldown_start = total_steps - cooldown

    def rate(k: Tensor) -> Tensor:
        p = progress(tf.maximum(k - cooldown_start, 0), cooldown) if cooldown else tf.zeros_like(k)
        f = p if cooldown_shape == "linear" else tf.sqrt(p)
        return eta_0 * progress(k, warmup_steps) * (1 - f + alpha * f)

    return from_equation(rate, dtype)
