"""Cases of piecewise and composed schedules.

Each has several boundaries or cycles within the first 250 steps, and some as long as the 10,000
steps that are compared.
"""

from __future__ import annotations

from itertools import pairwise, starmap
from typing import Any

import numpy as np

import trainlib.schedules as schedules
from trainlib.core.types import Schedule
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


def _piecewise() -> list[FunctionCase]:
    boundaries = [0, 5, 37, 38, 200, 5000, 9998]
    values = [0.1, 0.2, 0.05, 0.3, 0.01, 0.02, 0.1, 1.0]
    ratios = dict(zip(boundaries, (b / a for a, b in pairwise(values)), strict=True))
    old = {"boundaries": boundaries, "values": values}
    new = old | {"convention": "optax"}
    milestones = [5, 15, 250, 9998]
    halves = {"boundaries": milestones, "values": [RATE * 0.5**i for i in range(5)]}
    epochs = {"boundaries": [5, 15], "values": [0.01, 0.005, 0.001], "boundary": "new"}
    forms = (
        ("old at the boundary", old, "keras", in_keras("PiecewiseConstantDecay", old)),
        (
            "new at the boundary",
            new,
            "optax",
            in_optax(lambda o: o.piecewise_constant_schedule(values[0], ratios)),
        ),
        (
            "halves at milestones",
            halves | {"convention": "torch"},
            "torch",
            in_torch(lambda t, opt: t.MultiStepLR(opt, milestones, 0.5)),
        ),
        (
            "0.01, 0.005 from epoch 5, 0.001 from epoch 15",
            epochs,
            "numpy",
            in_numpy(lambda k: np.where(k < 5, 0.01, np.where(k < 15, 0.005, 0.001))),
        ),
    )
    return [case("piecewise_constant", form, ours, {peer: p}) for form, ours, peer, p in forms]


def _warmup_stable_decay(
    total: int, warmup: int, cooldown: int, alpha: float
) -> list[FunctionCase]:
    def linear(o: Any) -> Any:
        rising = o.linear_schedule(0.0, RATE, warmup) if warmup else o.constant_schedule(RATE)
        falling = o.linear_schedule(RATE, alpha * RATE, cooldown)
        parts = [rising, o.constant_schedule(RATE), falling]
        return o.join_schedules(parts, [warmup, total - cooldown])

    def sqrt(k: np.ndarray) -> Any:
        p = np.clip((k - total + cooldown) / cooldown, 0, 1)
        cooling = RATE * (alpha + (1 - alpha) * (1 - np.sqrt(p)))
        return np.where(k < warmup, RATE * k / max(warmup, 1), cooling)

    options = {
        "initial_learning_rate": RATE,
        "total_steps": total,
        "warmup_steps": warmup,
        "cooldown_steps": cooldown,
        "alpha": alpha,
    }
    form = f"{total} steps, warm-up {warmup}, cooldown {cooldown}"
    rounding = ORDINARY if alpha else NEAR_ZERO
    by_root = options | {"cooldown_shape": "sqrt"}
    return [
        case("warmup_stable_decay", form, options, {"optax": in_optax(linear)}, rounding=rounding),
        case("warmup_stable_decay", f"sqrt, {form}", by_root, {"numpy": in_numpy(sqrt)}),
    ]


def _warmup(warmup: int, start: float) -> FunctionCase:
    options = {"initial_learning_rate": RATE, "warmup_steps": warmup, "warmup_start": start}
    peers = {"optax": in_optax(lambda o: o.warmup_constant_schedule(start, RATE, warmup))}
    if start == RATE / 4:
        peers["torch"] = in_torch(lambda t, opt: t.LinearLR(opt, 0.25, total_iters=warmup))
    return case("linear_warmup", f"{warmup} steps from {start:g}", options, peers)


def _warmup_to_a_cosine() -> FunctionCase:
    options = {
        "initial_learning_rate": 0.02,
        "decay_steps": 3000,
        "alpha": 0.1,
        "warmup_target": RATE,
        "warmup_steps": 49,
    }

    def ours(dtype: str) -> Schedule:
        cosine = schedules.cosine_decay(RATE, 3000, 0.1, dtype=dtype)
        return schedules.linear_warmup(cosine, 49, 0.02, dtype)

    def theirs(o: Any) -> Any:
        return o.warmup_cosine_decay_schedule(0.02, RATE, 49, 3049, 0.1 * RATE)

    peers = {"keras": in_keras("CosineDecay", options), "optax": in_optax(theirs)}
    return case("linear_warmup", "to a cosine", ours, peers)


def _warmup_to_a_staircase() -> FunctionCase:
    def ours(dtype: str) -> Schedule:
        staircase = schedules.exponential_decay(RATE, 37, 0.9, True, dtype)
        return schedules.linear_warmup(staircase, 49, 0.02, dtype)

    def theirs(o: Any) -> Any:
        return o.warmup_exponential_decay_schedule(0.02, RATE, 49, 37, 0.9, staircase=True)

    return case("linear_warmup", "to a staircase", ours, {"optax": in_optax(theirs)})


def _join(first: int, second: int) -> FunctionCase:
    def ours(dtype: str) -> Schedule:
        parts = [
            schedules.linear_warmup(RATE, 30, RATE / 4, dtype),
            schedules.exponential_decay(RATE, 37, 0.9, True, dtype),
            schedules.exponential_decay(RATE, 1, SLOW, dtype=dtype),
        ]
        return schedules.join_schedules(parts, [first, second], dtype)

    def in_jax(o: Any) -> Any:
        parts = [
            o.linear_schedule(RATE / 4, RATE, 30),
            o.exponential_decay(RATE, 37, 0.9, staircase=True),
            o.exponential_decay(RATE, 1, SLOW),
        ]
        return o.join_schedules(parts, [first, second])

    def in_order(t: Any, opt: Any) -> Any:
        parts = [
            t.LinearLR(opt, 0.25, total_iters=30),
            t.StepLR(opt, 37, 0.9),
            t.ExponentialLR(opt, SLOW),
        ]
        return t.SequentialLR(opt, parts, [first, second])

    peers = {"optax": in_optax(in_jax), "torch": in_torch(in_order)}
    return case("join_schedules", f"at {first} and {second}", ours, peers)


def _per_epoch(steps: int) -> FunctionCase:
    def ours(dtype: str) -> Schedule:
        return schedules.per_epoch(
            schedules.exponential_decay(RATE, 1, 0.99, dtype=dtype), steps, dtype
        )

    def falling(k: np.ndarray) -> Any:
        rate, rates = RATE, []
        for _ in range(int(k[-1]) // steps + 1):
            rates.append(rate)
            rate -= rate / 100
        return np.array(rates)[k.astype(np.int64) // steps]

    options = {"initial_learning_rate": RATE, "decay_steps": steps, "decay_rate": 0.99}
    peers = {
        "keras": in_keras("ExponentialDecay", options | {"staircase": True}),
        "numpy": in_numpy(falling),
    }
    return case("per_epoch", f"rate -= rate / 100, epochs of {steps}", ours, peers)


_WARMUP_STABLE_DECAYS = ((200, 37, 49, 0.1), (9999, 500, 3000, 0.0), (100, 0, 100, 0.5))
_WARMUPS = ((37, 0.0), (49, RATE / 4), (5000, 0.02), (9999, 0.2))

CASES = [
    *_piecewise(),
    *(found for lengths in _WARMUP_STABLE_DECAYS for found in _warmup_stable_decay(*lengths)),
    *starmap(_warmup, _WARMUPS),
    _warmup_to_a_cosine(),
    _warmup_to_a_staircase(),
    *starmap(_join, ((37, 230), (20, 5000))),
    *map(_per_epoch, (1, 37, 49, 5000)),
]
