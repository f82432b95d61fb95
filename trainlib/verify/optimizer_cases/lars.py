"""LARS."""

from __future__ import annotations

from typing import Any

from trainlib.verify.case import OptimizerCase, Peer

MOMENTUM = {"momentum": 0.875, "trust_coefficient": 0.0625}
ALL = {"weight_decay": 0.0625, "nesterov": True}


def _optax(
    form: str,
    options: dict[str, Any],
    optax: dict[str, Any] | None = None,
    problem: dict[str, Any] | None = None,
) -> OptimizerCase:
    theirs = MOMENTUM | (options if optax is None else optax)
    return OptimizerCase(
        "lars",
        form,
        MOMENTUM | options,
        {"optax": Peer("lars", theirs)},
        problem={"rate": 1.0} | (problem or {}),
    )


def _masks(names: list[str]) -> dict[str, bool]:
    """Return whether each tensor of the problem is among the names."""
    return {name: name in names for name in ("scalar", "vector", "wide", "tall", "kernel")}


MATRICES = _masks(["wide", "tall", "kernel"])
LARGE = _masks(["tall", "kernel"])

CASES = [
    _optax("", {}),
    _optax("small gradients", {}, problem={"scale": 2.0**-20}),
    _optax("large epsilon", {"epsilon": 2.0**-4}, {"eps": 2.0**-4}),
    _optax("nesterov", {"nesterov": True}),
    _optax("weight decay", {"weight_decay": 0.0625}),
    _optax(
        "weight decay, masks",
        ALL | {"decay_mask": LARGE, "ratio_mask": MATRICES},
        ALL | {"weight_decay_mask": LARGE, "trust_ratio_mask": MATRICES},
        # A tensor whose ratio is 1 takes the whole rate.
        {"rate": 2.0**-4},
    ),
]
