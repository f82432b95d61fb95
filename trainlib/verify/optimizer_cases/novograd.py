"""NovoGrad."""

from __future__ import annotations

from trainlib.verify.case import OptimizerCase, Peer

BETAS = {"beta_1": 0.875, "beta_2": 0.25}
OPTAX = {"b1": 0.875, "b2": 0.25}
PLAIN = {"optax": Peer("novograd", OPTAX)}

CASES = [
    OptimizerCase("novograd", "", BETAS, PLAIN),
    OptimizerCase("novograd", "small gradients", BETAS, PLAIN, problem={"scale": 2.0**-20}),
    OptimizerCase(
        "novograd",
        "paper",
        {},
        {"optax": Peer("novograd", {"b1": 0.95, "b2": 0.98, "eps": 1e-8}, convention="paper")},
    ),
    OptimizerCase(
        "novograd",
        "large epsilon",
        BETAS | {"epsilon": 2.0**-3},
        {"optax": Peer("novograd", OPTAX | {"eps": 2.0**-3})},
    ),
    OptimizerCase(
        "novograd",
        "epsilon in the root",
        BETAS | {"epsilon": 0.0, "eps_root": 2.0**-7},
        {"optax": Peer("novograd", OPTAX | {"eps": 0.0, "eps_root": 2.0**-7})},
    ),
    OptimizerCase(
        "novograd",
        "weight decay",
        BETAS | {"weight_decay": 0.0625},
        {"optax": Peer("novograd", OPTAX | {"weight_decay": 0.0625})},
    ),
]
