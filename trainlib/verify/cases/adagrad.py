"""AdaGrad."""

from __future__ import annotations

from trainlib.verify.case import Case, Peer

START, DECAY = 0.125, 0.0625
EXACT = {"initial_accumulator_value": START}
SMALL = {"scale": 2.0**-20}


def three(start: float, epsilon: float) -> dict[str, Peer]:
    """The peers with that start and epsilon."""
    initial = {"initial_accumulator_value": start}
    return {
        "keras": Peer("Adagrad", initial | {"epsilon": epsilon}),
        "torch": Peer("Adagrad", initial | {"eps": epsilon}),
        "optax": Peer("adagrad", initial | {"eps": epsilon}),
    }


CASES = [
    Case(
        "adagrad",
        "",
        EXACT,
        {
            "keras": Peer("Adagrad", EXACT),
            "torch": Peer("Adagrad", EXACT),
            "optax": Peer("adagrad", EXACT),
        },
    ),
    Case("adagrad", "large epsilon", EXACT | {"epsilon": 2.0**-7}, three(START, 2.0**-7)),
    Case(
        "adagrad",
        "small gradients",
        {"initial_accumulator_value": 0.0, "epsilon": 2.0**-40},
        three(0.0, 2.0**-40),
        problem=SMALL,
    ),
    Case(
        "adagrad",
        "no epsilon",
        {"initial_accumulator_value": 0.0, "epsilon": 0.0},
        {"optax": Peer("adagrad", {"initial_accumulator_value": 0.0, "eps": 0.0})},
    ),
    Case(
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
    Case(
        "adagrad",
        "paper",
        {},
        {"torch": Peer("Adagrad", {"eps": 1e-7}, convention="paper")},
    ),
    Case(
        "adagrad",
        "rate decay",
        EXACT | {"lr_decay": 0.0625},
        {"torch": Peer("Adagrad", EXACT | {"lr_decay": 0.0625})},
    ),
    Case(
        "adagrad",
        "weight decay",
        EXACT | {"weight_decay": DECAY},
        {
            "keras": Peer("Adagrad", EXACT | {"weight_decay": DECAY}),
            "torch": Peer("Adagrad", EXACT | {"weight_decay": DECAY}),
        },
    ),
]
