"""Cases of schedules that only fall."""

from __future__ import annotations

import math
from itertools import starmap
from typing import Any

import numpy as np

from trainlib.verify.case import ORDINARY, FunctionCase
from trainlib.verify.function_cases.schedule_peers import (
    NEAR_ZERO,
    RATE,
    SLOW,
    case,
    in_keras,
    in_numpy,
    in_optax,
    in_torch,
)


def _by_the_step() -> FunctionCase:
    options = {"initial_learning_rate": RATE, "decay_steps": 1, "decay_rate": SLOW}
    peers = {
        "keras": in_keras("ExponentialDecay", options),
        "optax": in_optax(lambda o: o.exponential_decay(RATE, 1, SLOW)),
        "torch": in_torch(lambda t, opt: t.ExponentialLR(opt, SLOW)),
    }
    return case("exponential_decay", "by the step", options, peers)


def _of_whole_periods(steps: int, staircase: bool) -> list[FunctionCase]:
    """Make the cases of the three schedules with the exponent k / steps."""
    form = f"{steps} steps{', staircase' if staircase else ''}"
    decays = {"initial_learning_rate": RATE, "decay_steps": steps, "staircase": staircase}
    exponential, inverse = decays | {"decay_rate": 0.9}, decays | {"decay_rate": 0.5}
    peers = {"keras": in_keras("ExponentialDecay", exponential)}
    # In a vector of Optax's, 49 / 49 is less than 1.
    peers["optax"] = in_optax(
        lambda o: o.exponential_decay(RATE, steps, 0.9, staircase=staircase), by_step=steps == 49
    )
    found = [
        case("inverse_time_decay", form, inverse, {"keras": in_keras("InverseTimeDecay", inverse)})
    ]
    if staircase:
        peers["torch"] = in_torch(lambda t, opt: t.StepLR(opt, steps, 0.9))
        drops = {"initial_learning_rate": RATE, "step_size": steps, "drop": 0.9}
        found.append(case("step_decay", f"{steps} steps", drops, peers))
    return [case("exponential_decay", form, exponential, peers), *found]


def _inverse_of_time() -> FunctionCase:
    options = {"initial_learning_rate": RATE, "decay_steps": 37}
    theirs = in_keras("InverseTimeDecay", options | {"decay_rate": 1.0})
    return case("power_decay", "37 steps, power 1", options, {"keras": theirs})


def _power(steps: int, power: float) -> FunctionCase:
    options = {"initial_learning_rate": RATE, "decay_steps": steps, "power": power}
    theirs = in_numpy(lambda k: RATE / (1 + k / steps) ** power)
    return case("power_decay", f"{steps} steps, power {power:g}", options, {"numpy": theirs})


def _inverse_sqrt(warmup_steps: int) -> FunctionCase:
    def rate(k: np.ndarray) -> Any:
        after = RATE * math.sqrt(max(warmup_steps, 1)) / np.sqrt(np.maximum(k, 1))
        return np.minimum(RATE * k / warmup_steps, after) if warmup_steps else after

    options = {"initial_learning_rate": RATE, "warmup_steps": warmup_steps}
    form = f"warm-up of {warmup_steps}"
    return case("inverse_sqrt_decay", form, options, {"numpy": in_numpy(rate)})


def _polynomial(steps: int, power: float, end: float, cycle: bool) -> FunctionCase:
    options = {
        "initial_learning_rate": RATE,
        "decay_steps": steps,
        "end_learning_rate": end,
        "power": power,
        "cycle": cycle,
    }
    peers = {"keras": in_keras("PolynomialDecay", options)}
    if not cycle:
        peers["optax"] = in_optax(lambda o: o.polynomial_schedule(RATE, end, power, steps))
    if not cycle and not end:
        peers["torch"] = in_torch(lambda t, opt: t.PolynomialLR(opt, steps, power))
    form = f"{steps} steps, power {power:g}, to {end:g}{', cycle' if cycle else ''}"
    return case("polynomial_decay", form, options, peers, rounding=ORDINARY if end else NEAR_ZERO)


def _held(hold: int) -> FunctionCase:
    options = {"initial_learning_rate": RATE, "hold_steps": hold, "decay_rate": SLOW}
    theirs = in_optax(lambda o: o.exponential_decay(RATE, 1, SLOW, hold - 1))
    return case("hold_then_decay", f"{hold} steps, then slowly", options, {"optax": theirs})


def _held_for_ten_epochs() -> FunctionCase:
    peers = {
        "optax": in_optax(lambda o: o.exponential_decay(RATE, 1, math.exp(-0.1), 9)),
        "numpy": in_numpy(lambda k: RATE * np.exp(-0.1 * np.maximum(0, k - 9))),
    }
    options = {"initial_learning_rate": RATE, "hold_steps": 10}
    return case("hold_then_decay", "10 epochs, then e^-0.1", options, peers)


_CONSTANT = case(
    "constant",
    "",
    {"initial_learning_rate": RATE},
    {
        "optax": in_optax(lambda o: o.constant_schedule(RATE)),
        "torch": in_torch(lambda t, opt: t.ConstantLR(opt, factor=1.0)),
    },
)
_PERIODS = ((37, False), (37, True), (49, True), (5000, False), (5000, True))
_POLYNOMIALS = (
    (37, 1.0, 0.01, False),
    (37, 0.5, 0.02, True),
    (49, 2.0, 0.3, False),
    (49, 1.0, 0.01, True),
    (5000, 0.5, 0.03, False),
    (9999, 3.0, 0.01, False),
    (37, 0.5, 0.0, False),
    (5000, 1.0, 0.0, False),
)

CASES = [
    _CONSTANT,
    _by_the_step(),
    *(found for period in _PERIODS for found in _of_whole_periods(*period)),
    _inverse_of_time(),
    *starmap(_power, ((37, 0.5), (5000, 2.0))),
    *map(_inverse_sqrt, (0, 37, 4000)),
    *starmap(_polynomial, _POLYNOMIALS),
    _held_for_ten_epochs(),
    *map(_held, (1, 37, 5000)),
]
