"""LAMB."""

from __future__ import annotations

from typing import Any

from trainlib.verify.case import OptimizerCase, Peer

BETAS = {"beta_1": 0.875, "beta_2": 1 - 2.0**-10}
OPTAX = {"b1": 0.875, "b2": 1 - 2.0**-10}


def _case(
    form: str,
    options: dict[str, Any],
    keras: dict[str, Any],
    optax: dict[str, Any],
    problem: dict[str, Any],
) -> OptimizerCase:
    peers = {"keras": Peer("Lamb", BETAS | keras), "optax": Peer("lamb", OPTAX | optax)}
    return OptimizerCase("lamb", form, BETAS | options, peers, problem=problem)


CASES = [
    _case("", {}, {}, {}, {}),
    _case("small gradients", {}, {}, {}, {"scale": 2.0**-20}),
    _case("large epsilon", {"epsilon": 2.0**-4}, {"epsilon": 2.0**-4}, {"eps": 2.0**-4}, {}),
    _case(
        "weight decay",
        {"weight_decay": 0.0625},
        {"weight_decay": 0.0625},
        {"weight_decay": 0.0625},
        {},
    ),
    OptimizerCase(
        "lamb",
        "epsilon in the root",
        BETAS | {"epsilon": 0.0, "eps_root": 2.0**-7},
        {"optax": Peer("lamb", OPTAX | {"eps": 0.0, "eps_root": 2.0**-7})},
    ),
]
