"""Stochastic gradient descent."""

from __future__ import annotations

from typing import Any

from trainlib.verify.case import OptimizerCase, Peer

MU, DECAY = 0.875, 0.0625
MOMENTUM = {"momentum": MU}
NESTEROV = MOMENTUM | {"nesterov": True}


def three(options: dict[str, Any]) -> dict[str, Peer]:
    """Return the peers, whose options have the same names."""
    return {
        "keras": Peer("SGD", options),
        "torch": Peer("SGD", options),
        "optax": Peer("sgd", options),
    }


CASES = [
    OptimizerCase("sgd", "", {}, three({})),
    OptimizerCase("sgd", "momentum", MOMENTUM, three(MOMENTUM)),
    OptimizerCase("sgd", "nesterov", NESTEROV, three(NESTEROV)),
    OptimizerCase(
        "sgd",
        "textbook momentum",
        MOMENTUM,
        {"keras": Peer("SGD", MOMENTUM, convention="textbook")},
    ),
    OptimizerCase(
        "sgd",
        "dampening",
        MOMENTUM | {"dampening": 0.25},
        {"torch": Peer("SGD", MOMENTUM | {"dampening": 0.25})},
    ),
    OptimizerCase(
        "sgd",
        "nesterov, weight decay",
        NESTEROV | {"weight_decay": DECAY},
        {
            "keras": Peer("SGD", NESTEROV | {"weight_decay": DECAY}),
            "torch": Peer("SGD", NESTEROV | {"weight_decay": DECAY}),
        },
    ),
]
