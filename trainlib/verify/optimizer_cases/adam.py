"""Adam's family."""

from __future__ import annotations

from trainlib.verify.case import OptimizerCase, Peer

B1, B2 = 0.875, 1 - 2.0**-10
BETAS = {"beta_1": B1, "beta_2": B2}
TORCH = {"betas": (B1, B2)}
OPTAX = {"b1": B1, "b2": B2}

CASES = [
    OptimizerCase(
        "adam",
        "",
        BETAS,
        {
            "keras": Peer("Adam", BETAS),
            "torch": Peer("Adam", TORCH),
            "optax": Peer("adam", OPTAX),
        },
    ),
    OptimizerCase(
        "adam",
        "large epsilon",
        BETAS | {"epsilon": 2.0**-7},
        {
            "keras": Peer("Adam", BETAS | {"epsilon": 2.0**-7}),
            "torch": Peer("Adam", TORCH | {"eps": 2.0**-7}),
            "optax": Peer("adam", OPTAX | {"eps": 2.0**-7}),
        },
    ),
    OptimizerCase(
        "adam",
        "epsilon in the root",
        BETAS | {"epsilon": 0.0, "eps_root": 2.0**-7},
        {"optax": Peer("adam", OPTAX | {"eps": 0.0, "eps_root": 2.0**-7})},
    ),
    OptimizerCase(
        "adam",
        "weight decay",
        BETAS | {"weight_decay": 0.0625},
        {
            "keras": Peer("Adam", BETAS | {"weight_decay": 0.0625}),
            "torch": Peer("Adam", TORCH | {"weight_decay": 0.0625}),
        },
    ),
    OptimizerCase(
        "adam",
        "amsgrad",
        BETAS | {"amsgrad": True},
        {
            "keras": Peer("Adam", BETAS | {"amsgrad": True}),
            "torch": Peer("Adam", TORCH | {"amsgrad": True}),
            "optax": Peer("amsgrad", OPTAX),
        },
    ),
    OptimizerCase(
        "adamw",
        "",
        BETAS | {"weight_decay": 0.0625},
        {
            "keras": Peer("AdamW", BETAS | {"weight_decay": 0.0625}),
            "torch": Peer("AdamW", TORCH | {"weight_decay": 0.0625}),
            "optax": Peer("adamw", OPTAX | {"weight_decay": 0.0625}),
        },
    ),
]
