"""Schedules that rise and fall: one cycle over the run, or many."""

from __future__ import annotations

import math
from typing import Any

import tensorflow as tf

from trainlib.core.checks import check_choice
from trainlib.core.conventions import BY_CONVENTION, conventions
from trainlib.core.types import Schedule, Tensor
from trainlib.schedules.base import checked_number, falling_cosine, from_equation, periods

ANNEAL_STRATEGIES = ("cos", "linear")
PHASE_ENDS = ("last_step", "next_step")
CYCLIC_MODES = ("triangular", "triangular2", "exp_range")


@conventions(
    torch={"pct_final": None, "phase_end": "last_step"},
    optax={"pct_final": 0.85, "phase_end": "next_step"},
)
def one_cycle(
    maximal_learning_rate: float,
    total_steps: int,
    pct_start: float = 0.3,
    div_factor: float = 25.0,
    final_div_factor: float = 1e4,
    anneal_strategy: str = "cos",
    three_phase: bool = False,
    pct_final: float | None = BY_CONVENTION,
    phase_end: str = BY_CONVENTION,
    convention: str = "torch",
    dtype: Any = "float32",
) -> Schedule:
    """Raise the rate to a maximum and let it fall again, once over the whole run.

        eta_start = eta_max / div_factor
        eta_end   = eta_start / final_div_factor
        two phases      eta_start -> eta_max -> eta_end
        three phases    eta_start -> eta_max -> eta_start -> eta_end

    With N = total_steps, the phases end at the steps

        last_step    pct_start N - 1,         [pct_final N - 2,]         N - 1
        next_step    floor(pct_start N),      [floor(pct_final N),]      N

    From a to b, where p in [0, 1] is the progress of the phase, the rate is

        a q + b (1 - q)
        cos       q = (1 + cos(pi p)) / 2
        linear    q = 1 - p

    After the end the rate keeps its last value.

    Args:
        maximal_learning_rate: eta_max, the largest rate, at least 0.
        total_steps: N, steps of the whole cycle, above 0.
        pct_start: fraction of the steps in which the rate rises, from 0 to 1. Default: 0.3.
        div_factor: ratio of the largest to the first rate, above 0. Default: 25.
        final_div_factor: ratio of the first to the last rate, above 0. Default: 1e4.
        anneal_strategy: shape of a phase, "cos" or "linear". Default: "cos".
        three_phase: whether the rate falls to the first rate before it falls to the last. Default:
            False.
        pct_final: fraction of the steps after which the second of three phases ends, from pct_start
            to 1; None for 2 pct_start. Default: None (torch), 0.85 (optax).
        phase_end: whether a phase reaches its end at its "last_step", or at the "next_step", the
            first of the next phase. Default: "last_step" (torch), "next_step" (optax).
        convention: "torch" or "optax". Default: "torch".
        dtype: dtype of the rate. Default: "float32".

    Returns:
        A schedule.

    Raises:
        ValueError, TypeError: an argument is out of range or of the wrong type.

    Example:
        >>> schedule = tl.one_cycle(0.1, total_steps=100, convention="optax")
        >>> np.round(schedule(tf.constant([0, 30, 65, 100])), 3)
        array([0.004, 0.1  , 0.05 , 0.   ], dtype=float32)

    Differences:
        PyTorch: one step after the last rate is allowed and continues the curve; the next raises.
            Its cycle of the momentum is not implemented here.
        Optax: `cosine_onecycle_schedule` has two phases, `linear_onecycle_schedule` three.

    References:
        Smith and Topin 2018, "Super-Convergence: Very Fast Training of Neural Networks Using Large
        Learning Rates".
    """
    eta_max = checked_number("maximal_learning_rate", maximal_learning_rate, at_least=0)
    total_steps = checked_number("total_steps", total_steps, above=0)
    pct_start = checked_number("pct_start", pct_start, at_least=0, at_most=1)
    div_factor = checked_number("div_factor", div_factor, above=0)
    final_div_factor = checked_number("final_div_factor", final_div_factor, above=0)
    check_choice("anneal_strategy", anneal_strategy, ANNEAL_STRATEGIES)
    check_choice("phase_end", phase_end, PHASE_ENDS)
    start = eta_max / div_factor
    fractions, rates = [pct_start], [start, eta_max]
    if three_phase:
        pct_final = 2 * pct_start if pct_final is None else pct_final
        pct_final = checked_number("pct_final", pct_final, at_least=pct_start, at_most=1)
        fractions.append(pct_final)
        rates.append(start)
    ends = _phase_ends(fractions, total_steps, phase_end)
    rates.append(start / final_div_factor)
    return from_equation(lambda k: _rate_through_phases(ends, rates, anneal_strategy, k), dtype)


def cyclic(
    initial_learning_rate: float,
    maximal_learning_rate: float,
    step_size_up: int,
    step_size_down: int | None = None,
    mode: str = "triangular",
    gamma: float = 1.0,
    dtype: Any = "float32",
) -> Schedule:
    """Raise and lower the rate linearly, cycle after cycle.

        rate = eta_0 + (eta_max - eta_0) h scale
        c    = floor(k / (step_size_up + step_size_down)),  the number of complete cycles
        j    = k - c (step_size_up + step_size_down),       the step within the cycle
        h    = j / step_size_up                             up to j = step_size_up,
               1 - (j - step_size_up) / step_size_down      afterwards

        triangular     scale = 1
        triangular2    scale = 2^-c
        exp_range      scale = gamma^k

    Args:
        initial_learning_rate: eta_0, the rate at the start and the end of a cycle, at least 0.
        maximal_learning_rate: eta_max, the largest rate, at least 0.
        step_size_up: steps in which the rate rises, above 0.
        step_size_down: steps in which it falls, above 0; None for step_size_up. Default: None.
        mode: how the height of the cycles falls, "triangular" (not at all), "triangular2" or
            "exp_range". Default: "triangular".
        gamma: factor of the height at each step of "exp_range", above 0 and at most 1. Default: 1.
        dtype: dtype of the rate. Default: "float32".

    Returns:
        A schedule.

    Raises:
        ValueError, TypeError: an argument is out of range or of the wrong type.

    Example:
        >>> schedule = tl.cyclic(0.1, 0.5, step_size_up=4, mode="triangular2")
        >>> np.round(schedule(tf.constant([0, 2, 4, 8, 12])), 3)
        array([0.1, 0.3, 0.5, 0.1, 0.3], dtype=float32)

    Differences:
        PyTorch: the momentum is cycled too by default.

    References:
        Smith 2017, "Cyclical Learning Rates for Training Neural Networks".
    """
    eta_0 = checked_number("initial_learning_rate", initial_learning_rate, at_least=0)
    eta_max = checked_number("maximal_learning_rate", maximal_learning_rate, at_least=0)
    step_size_up = checked_number("step_size_up", step_size_up, above=0)
    down = step_size_up if step_size_down is None else step_size_down
    down = checked_number("step_size_down", down, above=0)
    check_choice("mode", mode, CYCLIC_MODES)
    gamma = checked_number("gamma", gamma, above=0, at_most=1)
    cycle = step_size_up + down

    def rate(k: Tensor) -> Tensor:
        c = periods(k, cycle)
        j = k - c * cycle
        height = tf.where(j <= step_size_up, j / step_size_up, (cycle - j) / down)
        if mode == "triangular2":
            height *= 0.5**c
        elif mode == "exp_range":
            height *= gamma**k
        return eta_0 + (eta_max - eta_0) * height

    return from_equation(rate, dtype)


def _phase_ends(fractions: list[float], total_steps: float, phase_end: str) -> list[float]:
    """Return the step at which each phase ends."""
    if phase_end == "next_step":
        return [*(math.floor(f * total_steps) for f in fractions), total_steps]
    early = [f * total_steps - i for i, f in enumerate(fractions, start=1)]
    return [*early, total_steps - 1]


def _rate_through_phases(
    ends: list[float], rates: list[float], anneal_strategy: str, k: Tensor
) -> Tensor:
    """Return the rate at step k on the way through `rates`, each reached at the end of a phase.

    A phase that ends before step 0 is skipped, but the next one begins where it ends.
    """
    k = tf.minimum(k, ends[-1])
    rate = tf.fill(tf.shape(k), tf.constant(rates[-1], k.dtype))
    starts = [0, *ends[:-1]]
    for start, end, a, b in reversed(list(zip(starts, ends, rates[:-1], rates[1:], strict=True))):
        p = (k - start) / (end - start) if end > start else tf.ones_like(k)
        left = 1 - p if anneal_strategy == "linear" else falling_cosine(p)
        rate = tf.where(k <= end, a * left + b * (1 - left), rate)
    return rate
