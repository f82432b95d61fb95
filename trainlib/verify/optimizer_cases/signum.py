"""signSGD and Signum."""

from __future__ import annotations

from trainlib.verify.case import OptimizerCase, Peer

MOMENTUM = 0.875

CASES = [
    OptimizerCase("sign_sgd", "", {}, {"optax": Peer("sign_sgd")}),
    OptimizerCase(
        "signum", "", {"momentum": MOMENTUM}, {"optax": Peer("signum", {"beta": MOMENTUM})}
    ),
    OptimizerCase(
        "signum",
        "small gradients",
        {"momentum": MOMENTUM},
        {"optax": Peer("signum", {"beta": MOMENTUM})},
        problem={"scale": 2.0**-20},
    ),
]
