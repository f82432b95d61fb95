"""Prodigy."""

from __future__ import annotations

from typing import Any

from trainlib.verify.case import OptimizerCase, Peer

OURS = {"beta_1": 0.875, "beta_2": 1 - 2.0**-10, "d_0": 2.0**-10}
OPTAX = {"betas": (0.875, 1 - 2.0**-10), "estim_lr0": 2.0**-10}
# The estimate grows to the distance of the solution; a rate of 1 is meant.
PROBLEM = {"rate": 1.0}


def _case(
    form: str,
    ours: dict[str, Any],
    optax: dict[str, Any] | None = None,
    problem: dict[str, Any] | None = None,
) -> OptimizerCase:
    theirs = OPTAX | (ours if optax is None else optax)
    return OptimizerCase(
        "prodigy",
        form,
        OURS | ours,
        {"optax": Peer("prodigy", theirs)},
        problem=PROBLEM | (problem or {}),
    )


CASES = [
    _case("", {}),
    _case("the default d_0", {"d_0": 1e-6}, {"estim_lr0": 1e-6}),
    _case("small gradients", {}, problem={"scale": 2.0**-20}),
    _case("large epsilon", {"epsilon": 2.0**-4}, {"eps": 2.0**-4}),
    _case("weight decay", {"weight_decay": 0.0625}),
    _case("safeguard_warmup", {"safeguard_warmup": True}),
    _case(
        "beta_3 and d_coef",
        {"beta_3": 0.9375, "d_coef": 0.5},
        {"beta3": 0.9375, "estim_lr_coef": 0.5},
    ),
]
