"""Adamax and AdamaxW."""

from __future__ import annotations

from trainlib.verify.case import OptimizerCase, Peer

B1, B2 = 0.875, 1 - 2.0**-10
BETAS = {"beta_1": B1, "beta_2": B2}
TORCH = {"betas": (B1, B2)}
OPTAX = {"b1": B1, "b2": B2}
PLAIN = {
    "keras": Peer("Adamax", BETAS),
    "torch": Peer("Adamax", TORCH),
    "optax": Peer("adamax", OPTAX),
}

CASES = [
    OptimizerCase("adamax", "", BETAS, PLAIN),
    OptimizerCase("adamax", "small gradients", BETAS, PLAIN, problem={"scale": 2.0**-20}),
    OptimizerCase(
        "adamax",
        "large epsilon",
        BETAS | {"epsilon": 2.0**-7},
        {
            "keras": Peer("Adamax", BETAS | {"epsilon": 2.0**-7}),
            "torch": Peer("Adamax", TORCH | {"eps": 2.0**-7}),
            "optax": Peer("adamax", OPTAX | {"eps": 2.0**-7}),
        },
    ),
    OptimizerCase(
        "adamax",
        "weight decay",
        BETAS | {"weight_decay": 0.0625},
        {
            "keras": Peer("Adamax", BETAS | {"weight_decay": 0.0625}),
            "torch": Peer("Adamax", TORCH | {"weight_decay": 0.0625}),
        },
    ),
    OptimizerCase(
        "adamaxw",
        "",
        BETAS | {"weight_decay": 0.0625},
        {"optax": Peer("adamaxw", OPTAX | {"weight_decay": 0.0625})},
    ),
]
