"""Yogi."""

from __future__ import annotations

from trainlib.verify.case import OptimizerCase, Peer

B1, B2 = 0.875, 1 - 2.0**-10
BETAS = {"beta_1": B1, "beta_2": B2}
OPTAX = {"b1": B1, "b2": B2}
PLAIN = {"optax": Peer("yogi", OPTAX)}
SMALL = {"optax": Peer("yogi", OPTAX | {"eps": 2.0**-23})}

CASES = [
    OptimizerCase("yogi", "", BETAS, PLAIN),
    OptimizerCase("yogi", "small epsilon", BETAS | {"epsilon": 2.0**-23}, SMALL),
    OptimizerCase(
        "yogi",
        "small gradients",
        BETAS | {"epsilon": 2.0**-23},
        SMALL,
        problem={"scale": 2.0**-20},
    ),
    OptimizerCase(
        "yogi",
        "large epsilon",
        BETAS | {"epsilon": 2.0**-3},
        {"optax": Peer("yogi", OPTAX | {"eps": 2.0**-3})},
    ),
]
