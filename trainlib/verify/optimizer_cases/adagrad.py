"""AdaGrad."""

from __future__ import annotations

from trainlib.verify.case import OptimizerCase, Peer

START, DECAY = 0.125, 0.0625
EXACT = {"initial_accumulator_value": START}
SMALL = {"scale": 2.0**-20}


def three(start: float, epsilon: float) -> dict[str, Peer]:
    """Return the peers with an initial accumulator and an epsilon."""
    initial = {"initial_accumulator_value": start}
    return {
        "keras": Peer("Adagrad", initial | {"epsilon": epsilon}),
        "torch": Peer("Adagrad", initial | {"eps": epsilon}),
        "optax": Peer("adagrad", initial | {"eps": epsilon}),
    }


CASES = [
    OptimizerCase(
        "adagrad",
        "",
        EXACT,
        {
            "keras": Peer("Adagrad", EXACT),
            "torch": Peer("Adagrad", EXACT),
            "optax": Peer("adagrad", EXACT),
        },
    ),
    OptimizerCase("adagrad", "large epsilon", EXACT | {"epsilon": 2.0**-7}, three(START, 2.0**-7)),
    OptimizerCase(
        "adagrad",
        "small gradients",
        {"initial_accumulator_value": 0.0, "epsilon": 2.0**-40},
        three(0.0, 2.0**-40),
        problem=SMALL,
    ),
    OptimizerCase(
        "adagrad",
        "no epsilon",
        {"initial_accumulator_value": 0.0, "epsilon": 0.0},
        {"optax": Peer("adagrad", {"initial_accumulator_value": 0.0, "eps": 0.0})},
    ),
    OptimizerCase(
        "adagrad",
        "textbook",
        {},
        {
            "keras": Peer(
                "Adagrad",
                {"initial_accumulator_value": 0.0, "epsilon": 1e-10},
                convention="textbook",
            )
        },
    ),
    OptimizerCase(
        "adagrad",
        "paper",
        {},
        {"torch": Peer("Adagrad", {"eps": 1e-7}, convention="paper")},
    ),
    OptimizerCase(
        "adagrad",
        "rate decay",
        EXACT | {"lr_decay": 0.0625},
        {"torch": Peer("Adagrad", EXACT | {"lr_decay": 0.0625})},
    ),
    OptimizerCase(
        "adagrad",
        "weight decay",
        EXACT | {"weight_decay": DECAY},
        {
            "keras": Peer("Adagrad", EXACT | {"weight_decay": DECAY}),
            "torch": Peer("Adagrad", EXACT | {"weight_decay": DECAY}),
        },
    ),
]
