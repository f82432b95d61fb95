"""Rates that rise and fall: one cycle over the whole run, or cycle after cycle."""

from __future__ import annotations

import math
from typing import Any

import tensorflow as tf

from trainlib.core.checks import check_choice
from trainlib.core.conventions import BY_CONVENTION, conventions
from trainlib.core.types import Schedule, Tensor
from trainlib.schedules.base import falling_cosine, from_equation, number, periods

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
    """The rate rises to its maximum and falls again, once in the whole run.

        eta_start = eta_max / div_factor
        eta_end   = eta_start / final_div_factor
        two phases      eta_start -> eta_max -> eta_end
        three phases    eta_start -> eta_max -> eta_start -> eta_end

    With N = total_steps, the phases end, one after the other, at the steps

        last_step    pct_start N - 1,         [pct_final N - 2,]         N - 1
        next_step    floor(pct_start N),      [floor(pct_final N),]      N

    From a to b, with p of the phase passed, the rate is

        a q + b (1 - q)
        cos       q = (1 + cos(pi p)) / 2
        linear    q = 1 - p

    After the end it stays at its last.

    Args:
        maximal_learning_rate: eta_max, the rate at the top, at least 0.
        total_steps: N, steps of the whole cycle, above 0.
        pct_start: share of the steps in which the rate rises, from 0 to 1.
        div_factor: the maximum over the first rate, above 0.
        final_div_factor: the first rate over the last, above 0.
        anneal_strategy: "cos" or "linear".
        three_phase: whether the rate falls to the first rate before it falls to the last.
        pct_final: share of the steps after which the second of three phases ends, from pct_start
            to 1; None for 2 pct_start.
        phase_end: whether a phase reaches its end at its "last_step", or at the "next_step", the
            first of the next.
        convention: "torch" (2 pct_start, last_step) or "optax" (pct_final 0.85, next_step).
        dtype: of the rate.

    Raises:
        ValueError, TypeError: an argument out of its range, or of another type.

    Differs from: PyTorch, which goes on beyond the last rate for one step and then raises. Its
    cycle of the momentum is not part of this. Optax's cosine_onecycle_schedule has two phases, its
    linear_onecycle_schedule three.

    Reference: Smith and Topin 2018, "Super-Convergence: Very Fast Training of Neural Networks
    Using Large Learning Rates".
    """
    eta_max = number("maximal_learning_rate", maximal_learning_rate, at_least=0)
    total_steps = number("total_steps", total_steps, above=0)
    pct_start = number("pct_start", pct_start, at_least=0, at_most=1)
    div_factor = number("div_factor", div_factor, above=0)
    final_div_factor = number("final_div_factor", final_div_factor, above=0)
    check_choice("anneal_strategy", anneal_strategy, ANNEAL_STRATEGIES)
    check_choice("phase_end", phase_end, PHASE_ENDS)
    start = eta_max / div_factor
    shares, rates = [pct_start], [start, eta_max]
    if three_phase:
        pct_final = 2 * pct_start if pct_final is None else pct_final
        pct_final = number("pct_final", pct_final, at_least=pct_start, at_most=1)
        shares.append(pct_final)
        rates.append(start)
    ends = _phase_ends(shares, total_steps, phase_end)
    rates.append(start / final_div_factor)
    return from_equation(lambda k: _through(ends, rates, anneal_strategy, k), dtype)


def cyclic(
    initial_learning_rate: float,
    maximal_learning_rate: float,
    step_size_up: int,
    step_size_down: int | None = None,
    mode: str = "triangular",
    gamma: float = 1.0,
    dtype: Any = "float32",
) -> Schedule:
    """The rate rises and falls on straight lines, cycle after cycle.

        rate = eta_0 + (eta_max - eta_0) h scale
        c    = floor(k / (step_size_up + step_size_down)),  the cycles passed
        j    = k - c (step_size_up + step_size_down),       the steps passed of this cycle
        h    = j / step_size_up                             up to j = step_size_up,
               1 - (j - step_size_up) / step_size_down      then

        triangular     scale = 1
        triangular2    scale = 2^-c
        exp_range      scale = gamma^k

    Args:
        initial_learning_rate: eta_0, where each cycle begins and ends, at least 0.
        maximal_learning_rate: eta_max, the rate at the top, at least 0.
        step_size_up: steps of the way up, above 0.
        step_size_down: steps of the way down, above 0; by default as many.
        mode: "triangular", "triangular2" or "exp_range": how the cycles' height falls.
        gamma: what the height is multiplied by at each step of "exp_range", above 0 and at most 1.
        dtype: of the rate.

    Raises:
        ValueError, TypeError: an argument out of its range, or of another type.

    Differs from: PyTorch, which cycles the momentum along unless told not to.

    Reference: Smith 2017, "Cyclical Learning Rates for Training Neural Networks".
    """
    eta_0 = number("initial_learning_rate", initial_learning_rate, at_least=0)
    eta_max = number("maximal_learning_rate", maximal_learning_rate, at_least=0)
    step_size_up = number("step_size_up", step_size_up, above=0)
    down = step_size_up if step_size_down is None else step_size_down
    down = number("step_size_down", down, above=0)
    check_choice("mode", mode, CYCLIC_MODES)
    gamma = number("gamma", gamma, above=0, at_most=1)
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


def _phase_ends(shares: list[float], total_steps: float, phase_end: str) -> list[float]:
    """The step at which each phase has reached its end."""
    if phase_end == "next_step":
        return [*(math.floor(share * total_steps) for share in shares), total_steps]
    early = [share * total_steps - i for i, share in enumerate(shares, start=1)]
    return [*early, total_steps - 1]


def _through(ends: list[float], rates: list[float], anneal_strategy: str, k: Tensor) -> Tensor:
    """The rate on its way from each of the rates to the next, which it reaches at the phase's end.

    A phase that ends before step 0 is left out, but the next one begins where it ends.
    """
    k = tf.minimum(k, ends[-1])
    rate = tf.fill(tf.shape(k), tf.constant(rates[-1], k.dtype))
    begins = [0, *ends[:-1]]
    for begin, end, a, b in reversed(list(zip(begins, ends, rates[:-1], rates[1:], strict=True))):
        p = (k - begin) / (end - begin) if end > begin else tf.ones_like(k)
        left = 1 - p if anneal_strategy == "linear" else falling_cosine(p)
        rate = tf.where(k <= end, a * left + b * (1 - left), rate)
    return rate
