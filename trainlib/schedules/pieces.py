"""Schedules made of pieces: of constant rates, or of straight lines."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from trainlib.core.checks import check_choice
from trainlib.core.conventions import BY_CONVENTION, conventions
from trainlib.core.types import Schedule, Tensor
from trainlib.schedules.base import follow, from_equation, number, rising, share

BOUNDARY_OWNERS = ("old", "new")
COOLDOWN_SHAPES = ("linear", "sqrt")

_NEW = {"boundary": "new"}


@conventions(keras={"boundary": "old"}, torch=_NEW, optax=_NEW)
def piecewise_constant(
    boundaries: Sequence[int],
    values: Sequence[float],
    boundary: str = BY_CONVENTION,
    convention: str = "keras",
    dtype: Any = "float32",
) -> Schedule:
    """One rate after the other, each up to its boundary.

        old    rate = values[i]  for  boundaries[i-1] <  k <= boundaries[i]
        new    rate = values[i]  for  boundaries[i-1] <= k <  boundaries[i]

    "0.01 for 5 steps, 0.005 up to the 15th, then 0.001" is boundaries [5, 15] with "new", and
    [4, 14] with "old".

    Args:
        boundaries: steps at least 0, each above the one before.
        values: the rates, one more than boundaries, at least 0.
        boundary: whether the step of a boundary has the "old" rate still, or the "new" one.
        convention: "keras" (old), "torch" or "optax" (new).
        dtype: of the rate.

    Raises:
        ValueError, TypeError: an argument out of its range, or of another type.

    Differs from: PyTorch and Optax, which take not the rates but their ratios.
    """
    steps = rising(boundaries, "values", values)
    rates = [number("values", value, at_least=0) for value in values]
    check_choice("boundary", boundary, BOUNDARY_OWNERS)

    def rate(k: Tensor) -> Tensor:
        found = follow(rates[0], k)
        for b, later in zip(steps, rates[1:], strict=True):
            found = tf.where(k > b if boundary == "old" else k >= b, follow(later, k), found)
        return found

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
    """A linear warm-up from 0, a constant rate, and a cooldown at the end of the run.

        rate = eta_0 k / warmup_steps            for k < warmup_steps
               eta_0                             in between
               eta_0 (1 - f + alpha f)           for the last cooldown_steps of total_steps

        linear    f = p
        sqrt      f = sqrt(p)

    with p of the cooldown passed. After total_steps the rate stays at its last.

    Args:
        initial_learning_rate: eta_0, the rate in between, at least 0.
        total_steps: steps of all three together, above 0.
        warmup_steps: at least 0.
        cooldown_steps: at least 0, and with warmup_steps at most total_steps; by default a fifth
            of total_steps, rounded down, or what the warm-up leaves.
        alpha: the rate at the cooldown's end as a share of eta_0, at least 0.
        cooldown_shape: "linear", or "sqrt", which falls fast at first.
        dtype: of the rate.

    Raises:
        ValueError, TypeError: an argument out of its range, or of another type.

    Reference: Hägele et al. 2024, "Scaling Laws and Compute-Optimal Training Beyond Fixed Training
    Durations".
    """
    eta_0 = number("initial_learning_rate", initial_learning_rate, at_least=0)
    total_steps = number("total_steps", total_steps, above=0)
    warmup_steps = number("warmup_steps", warmup_steps, at_least=0, at_most=total_steps)
    left = total_steps - warmup_steps
    if cooldown_steps is None:
        cooldown_steps = min(math.floor(total_steps / 5), left)
    cooldown = number("cooldown_steps", cooldown_steps, at_least=0, at_most=left)
    alpha = number("alpha", alpha, at_least=0)
    check_choice("cooldown_shape", cooldown_shape, COOLDOWN_SHAPES)
    cooldown_begin = total_steps - cooldown

    def rate(k: Tensor) -> Tensor:
        p = share(tf.maximum(k - cooldown_begin, 0), cooldown) if cooldown else tf.zeros_like(k)
        f = p if cooldown_shape == "linear" else tf.sqrt(p)
        return eta_0 * share(k, warmup_steps) * (1 - f + alpha * f)

    return from_equation(rate, dtype)
