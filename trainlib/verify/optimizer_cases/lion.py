"""Lion."""

from __future__ import annotations

from trainlib.verify.case import OptimizerCase, Peer

B1, B2, DECAY = 0.875, 1 - 2.0**-7, 0.0625
BETAS = {"beta_1": B1, "beta_2": B2}
OPTAX = {"b1": B1, "b2": B2}

CASES = [
    OptimizerCase(
        "lion",
        "",
        BETAS | {"weight_decay": 0.0},
        {"keras": Peer("Lion", BETAS), "optax": Peer("lion", OPTAX | {"weight_decay": 0.0})},
    ),
    OptimizerCase(
        "lion",
        "small gradients",
        BETAS | {"weight_decay": 0.0},
        {"keras": Peer("Lion", BETAS), "optax": Peer("lion", OPTAX | {"weight_decay": 0.0})},
        problem={"scale": 2.0**-20},
    ),
    OptimizerCase(
        "lion",
        "weight decay",
        BETAS | {"weight_decay": DECAY},
        {
            "keras": Peer("Lion", BETAS | {"weight_decay": DECAY}),
            "optax": Peer("lion", OPTAX | {"weight_decay": DECAY}),
        },
    ),
    OptimizerCase("lion", "defaults", {}, {"keras": Peer("Lion"), "optax": Peer("lion")}),
]
