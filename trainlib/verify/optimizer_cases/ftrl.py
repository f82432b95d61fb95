"""Ftrl, which only Keras has."""

from __future__ import annotations

from typing import Any

from trainlib.verify.case import OptimizerCase, Peer

START = 0.125


def ftrl(form: str, scale: float = 1.0, **options: Any) -> OptimizerCase:
    """Make a case with an accumulator that float32 represents exactly.

    One far above g^2 would leave sigma, a difference of roots, to rounding.
    """
    options = {"initial_accumulator_value": START} | options
    return OptimizerCase(
        "ftrl", form, options, {"keras": Peer("Ftrl", options)}, problem={"scale": scale}
    )


ALL = {
    "l1_regularization_strength": 2.0**-5,
    "l2_regularization_strength": 2.0**-4,
    "l2_shrinkage_regularization_strength": 2.0**-6,
    "beta": 0.25,
}

CASES = [
    ftrl(""),
    ftrl("small gradients", scale=2.0**-20, initial_accumulator_value=2.0**-40),
    ftrl("l1", l1_regularization_strength=2.0**-2),
    ftrl("l2", l2_regularization_strength=2.0**-4),
    ftrl("shrinkage", l2_shrinkage_regularization_strength=2.0**-4),
    ftrl("beta", beta=0.25),
    ftrl("power", learning_rate_power=-0.75),
    ftrl("power 0", learning_rate_power=0.0),
    ftrl("all", **ALL),
    ftrl("all, weight decay", weight_decay=0.0625, **ALL),
    OptimizerCase(
        "ftrl",
        "paper",
        {"l1_regularization_strength": 2.0**-5},
        {
            "keras": Peer(
                "Ftrl",
                {
                    "initial_accumulator_value": 0.0,
                    "beta": 1.0,
                    "l1_regularization_strength": 2.0**-5,
                    "l2_regularization_strength": 2.0**-4,
                },
                ours={"l2_regularization_strength": 2.0**-3},
                convention="paper",
            )
        },
    ),
]
