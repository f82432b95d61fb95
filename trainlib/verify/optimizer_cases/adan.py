"""Adan."""

from __future__ import annotations

from trainlib.verify.case import OptimizerCase, Peer

B1, B2, B3 = 1 - 2.0**-6, 1 - 2.0**-4, 1 - 2.0**-7
BETAS = {"beta_1": B1, "beta_2": B2, "beta_3": B3}
OPTAX = {"b1": B1, "b2": B2, "b3": B3}

CASES = [
    OptimizerCase("adan", "", BETAS, {"optax": Peer("adan", OPTAX)}),
    OptimizerCase(
        "adan",
        "small gradients",
        BETAS | {"eps_root": 0.0},
        {"optax": Peer("adan", OPTAX | {"eps_root": 0.0})},
        problem={"scale": 2.0**-20},
    ),
    OptimizerCase(
        "adan",
        "large epsilon",
        BETAS | {"epsilon": 2.0**-7, "eps_root": 2.0**-10},
        {"optax": Peer("adan", OPTAX | {"eps": 2.0**-7, "eps_root": 2.0**-10})},
    ),
    OptimizerCase(
        "adan",
        "weight decay",
        BETAS | {"weight_decay": 0.0625},
        {"optax": Peer("adan", OPTAX | {"weight_decay": 0.0625})},
    ),
]
