"""Adadelta."""

from __future__ import annotations

from typing import Any

from trainlib.verify.case import OptimizerCase, Peer

RHO, DECAY = 0.875, 0.0625


def adadelta(form: str, epsilon: float, **problem: float) -> OptimizerCase:
    """Make the case of an epsilon with all peers, at a rate near 1, which makes it move."""
    ours = {"rho": RHO, "epsilon": epsilon}
    theirs = {"rho": RHO, "eps": epsilon}
    peers = {
        "keras": Peer("Adadelta", ours),
        "torch": Peer("Adadelta", theirs),
        "optax": Peer("adadelta", theirs),
    }
    return OptimizerCase("adadelta", form, ours, peers, problem={"rate": 1.0} | problem)


def decaying(**options: Any) -> dict[str, Any]:
    """Return the options with weight decay."""
    return options | {"weight_decay": DECAY}


CASES = [
    adadelta("", 2.0**-20),
    adadelta("large epsilon", 2.0**-7),
    adadelta("small gradients", 2.0**-40, scale=2.0**-20),
    OptimizerCase(
        "adadelta",
        "defaults",
        {},
        {
            "keras": Peer("Adadelta"),
            "torch": Peer("Adadelta"),
            "optax": Peer("adadelta"),
        },
        problem={"rate": 1.0},
    ),
    OptimizerCase(
        "adadelta",
        "weight decay",
        decaying(rho=RHO),
        {
            "keras": Peer("Adadelta", decaying(rho=RHO)),
            "torch": Peer("Adadelta", decaying(rho=RHO)),
            "optax": Peer("adadelta", decaying(rho=RHO)),
        },
        problem={"rate": 1.0},
    ),
]
