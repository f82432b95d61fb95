"""RAdam.

Optax computes rho_t in the parameters' dtype. In float32 that costs it 1e-5 with a beta_2 near 1,
so it is given a shorter memory.
"""

from __future__ import annotations

from typing import Any

from trainlib.verify.case import OptimizerCase, Peer

B1, B2 = 0.875, 1 - 2.0**-10
SHORT = 1 - 2.0**-5
BETAS = {"beta_1": B1, "beta_2": B2}


def torch(**options: Any) -> Peer:
    """Return PyTorch's RAdam."""
    return Peer("RAdam", {"betas": (B1, B2)} | options)


def optax(**options: Any) -> Peer:
    """Return Optax's radam, with a small beta_2."""
    return Peer("radam", {"b1": B1, "b2": SHORT} | options, {"beta_2": SHORT})


PLAIN = {"torch": torch(), "optax": optax()}

CASES = [
    OptimizerCase("radam", "", BETAS, PLAIN),
    OptimizerCase("radam", "small gradients", BETAS, PLAIN, problem={"scale": 2.0**-20}),
    OptimizerCase(
        "radam",
        "large epsilon",
        BETAS | {"epsilon": 2.0**-7},
        {"torch": torch(eps=2.0**-7), "optax": optax(eps=2.0**-7)},
    ),
    OptimizerCase(
        "radam",
        "epsilon in the root",
        BETAS | {"epsilon": 0.0, "eps_root": 2.0**-7},
        {"optax": optax(eps=0.0, eps_root=2.0**-7)},
    ),
    OptimizerCase(
        "radam",
        "never rectified",
        BETAS | {"beta_2": 0.5},
        {
            "torch": Peer("RAdam", {"betas": (B1, 0.5)}),
            "optax": Peer("radam", {"b1": B1, "b2": 0.5}),
        },
    ),
    OptimizerCase(
        "radam", "high threshold", BETAS | {"threshold": 16.5}, {"optax": optax(threshold=16.5)}
    ),
    OptimizerCase("radam", "nesterov", BETAS | {"nesterov": True}, {"optax": optax(nesterov=True)}),
    OptimizerCase(
        "radam",
        "weight decay",
        BETAS | {"weight_decay": 0.0625},
        {"torch": torch(weight_decay=0.0625)},
    ),
    OptimizerCase(
        "radam",
        "decoupled weight decay",
        BETAS | {"weight_decay": 0.0625, "decay_form": "pre"},
        {"torch": torch(weight_decay=0.0625, decoupled_weight_decay=True)},
    ),
]
