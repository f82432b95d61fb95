"""AdaBelief."""

from __future__ import annotations

from trainlib.verify.case import OptimizerCase, Peer

B1, B2 = 0.875, 1 - 2.0**-10
BETAS = {"beta_1": B1, "beta_2": B2}
OPTAX = {"b1": B1, "b2": B2}
LARGE = {"eps": 2.0**-7, "eps_root": 2.0**-14}
PLAIN = {"optax": Peer("adabelief", OPTAX)}

CASES = [
    OptimizerCase("adabelief", "", BETAS, PLAIN),
    OptimizerCase("adabelief", "small gradients", BETAS, PLAIN, problem={"scale": 2.0**-20}),
    OptimizerCase(
        "adabelief",
        "paper",
        BETAS,
        {"optax": Peer("adabelief", OPTAX | {"eps": 1e-8, "eps_root": 1e-8}, convention="paper")},
    ),
    OptimizerCase(
        "adabelief",
        "large epsilon",
        BETAS | {"epsilon": LARGE["eps"], "eps_root": LARGE["eps_root"]},
        {"optax": Peer("adabelief", OPTAX | LARGE)},
    ),
    OptimizerCase(
        "adabelief",
        "nesterov",
        BETAS | {"nesterov": True},
        {"optax": Peer("adabelief", OPTAX | {"nesterov": True})},
    ),
]
