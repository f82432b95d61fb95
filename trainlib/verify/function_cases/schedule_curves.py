"""Cases of cosine and cyclic schedules."""

from __future__ import annotations

from itertools import starmap
from typing import Any

import numpy as np

from trainlib.verify.case import ORDINARY, FunctionCase, Rounding
from trainlib.verify.function_cases.schedule_peers import (
    NEAR_ZERO,
    RATE,
    STEPS,
    case,
    in_keras,
    in_keras_by_step,
    in_optax,
    in_torch,
    in_torch_by_number,
)


def _cosine(steps: int, alpha: float, exponent: float) -> FunctionCase:
    options = {"initial_learning_rate": RATE, "decay_steps": steps, "alpha": alpha}
    peers = {"optax": in_optax(lambda o: o.cosine_decay_schedule(RATE, steps, alpha, exponent))}
    if exponent == 1:
        peers["keras"] = in_keras("CosineDecay", options)
    form = f"{steps} steps, exponent {exponent:g}"
    options = options | {"exponent": exponent}
    return case("cosine_decay", form, options, peers, rounding=ORDINARY if alpha else NEAR_ZERO)


def _rising_cosine(steps: int, alpha: float) -> FunctionCase:
    theirs = in_torch_by_number(lambda t, opt: t.CosineAnnealingLR(opt, steps, alpha * RATE))
    options = {"initial_learning_rate": RATE, "decay_steps": steps, "alpha": alpha}
    return case(
        "cosine_decay",
        f"{steps} steps, rise",
        options | {"after_end": "rise"},
        {"torch": theirs},
        rounding=Rounding(
            "PyTorch is given the step: its recursion drifts by 2e-11 in 10,000 steps"
        ),
    )


def _warmed_up(first: float, target: float, warmup: int, steps: int) -> FunctionCase:
    options = {
        "initial_learning_rate": first,
        "decay_steps": steps,
        "alpha": 0.1,
        "warmup_target": target,
        "warmup_steps": warmup,
    }
    peers = {
        "keras": in_keras("CosineDecay", options),
        "optax": in_optax(
            lambda o: o.warmup_cosine_decay_schedule(
                first, target, warmup, steps + warmup, 0.1 * target
            )
        ),
    }
    return case("cosine_decay", f"{steps} steps after a warm-up of {warmup}", options, peers)


def _restarts(first: int, growth: float, height: float) -> FunctionCase:
    options = {
        "initial_learning_rate": RATE,
        "first_decay_steps": first,
        "t_mul": growth,
        "m_mul": height,
        "alpha": 0.1,
    }
    peers = {}
    if float(growth).is_integer():
        peers["optax"] = in_optax(lambda o: _sgdr(o, first, int(growth), height))
    if float(growth).is_integer() and height == 1:
        peers["torch"] = in_torch(
            lambda t, opt: t.CosineAnnealingWarmRestarts(opt, first, int(growth), 0.1 * RATE)
        )
    if growth != 3:  # where the logarithm of Keras misses restarts
        peers["keras"] = in_keras("CosineDecayRestarts", options, computed_in="float64")
    form = f"{first} steps, t_mul {growth:g}, m_mul {height:g}"
    return case(
        "cosine_decay_restarts",
        form,
        options,
        peers,
        rounding=Rounding(
            "Keras in float64, then rounded: in float32 it misses restarts and loses digits of k"
        ),
    )


def _sgdr(optax: Any, first: int, growth: int, height: float) -> Any:
    """Return the cycles of Optax up to the last step that is compared."""
    cycles, start, length, peak = [], 0, first, 1.0
    while start < STEPS:
        cycles.append(
            {
                "init_value": RATE,
                "peak_value": RATE * (0.9 * peak + 0.1),
                "warmup_steps": 0,
                "decay_steps": length,
                "end_value": 0.1 * RATE,
            }
        )
        start, length, peak = start + length, length * growth, peak * height
    return optax.sgdr_schedule(cycles)


def _missed_restarts(first: int, growth: int) -> FunctionCase:
    """Make a case of the steps around the restarts, also beyond step 10,000."""
    starts = [first * (growth**i - 1) // (growth - 1) for i in range(16)]
    steps = np.unique([*range(50), *(max(s + d, 0) for s in starts for d in (-1, 0, 1))])
    options = {
        "initial_learning_rate": RATE,
        "first_decay_steps": first,
        "t_mul": float(growth),
        "m_mul": 0.9,
    }
    return case(
        "cosine_decay_restarts",
        f"Keras's logarithm, {first} steps, t_mul {growth}",
        options | {"convention": "keras"},
        {"keras": in_keras_by_step("CosineDecayRestarts", options)},
        steps=steps,
        rounding=Rounding("Keras in float64, then rounded: in float32 it misses other restarts"),
    )


def _one_cycle(total: int, start: float, strategy: str, three_phase: bool) -> FunctionCase:
    same = {
        "total_steps": total,
        "pct_start": start,
        "final_div_factor": 10.0,
        "anneal_strategy": strategy,
        "three_phase": three_phase,
    }
    theirs = in_torch(
        lambda t, opt: t.OneCycleLR(opt, RATE, **same, cycle_momentum=False), last=total - 1
    )
    form = f"{strategy}, {total} steps, {'three' if three_phase else 'two'} phases"
    return case("one_cycle", form, {"maximal_learning_rate": RATE} | same, {"torch": theirs})


def _one_cycle_of_optax(total: int, strategy: str) -> FunctionCase:
    options = {
        "maximal_learning_rate": RATE,
        "total_steps": total,
        "anneal_strategy": strategy,
        "three_phase": strategy == "linear",
        "convention": "optax",
    }
    name = "cosine_onecycle_schedule" if strategy == "cos" else "linear_onecycle_schedule"
    theirs = in_optax(lambda o: getattr(o, name)(total, RATE))
    form = f"Optax's, {strategy}, {total} steps"
    return case("one_cycle", form, options, {"optax": theirs}, rounding=NEAR_ZERO)


def _cyclic(mode: str, up: int, down: int | None, gamma: float) -> FunctionCase:
    same = {"step_size_up": up, "step_size_down": down, "mode": mode, "gamma": gamma}
    theirs = in_torch(lambda t, opt: t.CyclicLR(opt, RATE / 10, RATE, **same, cycle_momentum=False))
    options = {"initial_learning_rate": RATE / 10, "maximal_learning_rate": RATE} | same
    return case("cyclic", f"{mode}, {up} up, {down or up} down", options, {"torch": theirs})


_ONE_CYCLES = (
    (37, 0.3, "cos", False),
    (250, 0.25, "linear", False),
    (250, 0.3, "linear", True),
    (9999, 0.3, "cos", False),
    (5000, 0.45, "cos", True),
    (12_000, 0.0, "linear", False),
)
_CYCLICS = (
    ("triangular", 37, None, 1.0),
    ("triangular", 2000, 500, 1.0),
    ("triangular2", 24, 25, 1.0),
    ("triangular2", 2000, None, 1.0),
    ("exp_range", 37, 25, 0.999),
    ("exp_range", 2000, None, 0.9997),
)

CASES = [
    *starmap(_cosine, ((37, 0.0, 1.0), (5000, 0.1, 1.0), (9999, 0.1, 1.7))),
    *starmap(_rising_cosine, ((37, 0.1), (5000, 0.2))),
    *starmap(_warmed_up, ((0.0, 0.1, 37, 100), (0.3, 0.1, 500, 5000), (0.05, 0.1, 0, 9999))),
    *starmap(
        _restarts,
        ((37, 1, 1.0), (49, 1, 0.9), (37, 2, 1.0), (10, 1.1, 0.8), (1, 3, 1.0), (5000, 2, 0.5)),
    ),
    *starmap(_missed_restarts, ((1, 3), (7, 3), (3, 10))),
    *starmap(_one_cycle, _ONE_CYCLES),
    *starmap(_one_cycle_of_optax, ((37, "cos"), (250, "linear"), (5000, "cos"), (9999, "linear"))),
    *starmap(_cyclic, _CYCLICS),
]
