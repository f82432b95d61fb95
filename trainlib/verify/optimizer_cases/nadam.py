"""Nadam and NadamW."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from trainlib.verify.case import OptimizerCase, Peer

B1, B2 = 0.875, 1 - 2.0**-10
BETAS = {"beta_1": B1, "beta_2": B2}
TORCH = {"betas": (B1, B2)}
OPTAX = {"b1": B1, "b2": B2}


@contextlib.contextmanager
def exact_cast() -> Iterator[None]:
    """Convert Python floats to float64 tensors without rounding to float32, as `ops.cast` does."""
    import keras
    import tensorflow as tf

    ops = keras.src.ops
    before = ops.cast

    def cast(x: Any, dtype: Any) -> Any:
        return tf.constant(x, dtype) if isinstance(x, float) else before(x, dtype)

    ops.cast = cast
    try:
        yield
    finally:
        ops.cast = before


def keras(**options: Any) -> Peer:
    """Run Keras's Nadam with an exact 0.96."""
    note = "0.96 in mu_t lifted from float32 to float64"
    return Peer("Nadam", BETAS | options, patch=exact_cast, note=note)


PLAIN = {
    "keras": keras(),
    "torch": Peer("NAdam", TORCH),
    "optax": Peer("nadam", OPTAX),
}

CASES = [
    OptimizerCase("nadam", "", BETAS, PLAIN),
    OptimizerCase("nadam", "small gradients", BETAS, PLAIN, problem={"scale": 2.0**-20}),
    OptimizerCase(
        "nadam",
        "large epsilon",
        BETAS | {"epsilon": 2.0**-7},
        {
            "keras": keras(epsilon=2.0**-7),
            "torch": Peer("NAdam", TORCH | {"eps": 2.0**-7}),
            "optax": Peer("nadam", OPTAX | {"eps": 2.0**-7}),
        },
    ),
    OptimizerCase(
        "nadam",
        "epsilon in the root",
        BETAS | {"epsilon": 0.0, "eps_root": 2.0**-7},
        {"optax": Peer("nadam", OPTAX | {"eps": 0.0, "eps_root": 2.0**-7})},
    ),
    OptimizerCase(
        "nadam",
        "psi",
        BETAS | {"psi": 0.125},
        {"torch": Peer("NAdam", TORCH | {"momentum_decay": 0.125})},
    ),
    OptimizerCase(
        "nadam",
        "weight decay",
        BETAS | {"weight_decay": 0.0625},
        {
            "keras": keras(weight_decay=0.0625),
            "torch": Peer("NAdam", TORCH | {"weight_decay": 0.0625}),
        },
    ),
    OptimizerCase(
        "nadam",
        "decoupled weight decay",
        BETAS | {"weight_decay": 0.0625, "decay_form": "pre"},
        {"torch": Peer("NAdam", TORCH | {"weight_decay": 0.0625, "decoupled_weight_decay": True})},
    ),
    OptimizerCase(
        "nadamw",
        "",
        BETAS | {"weight_decay": 0.0625},
        {"optax": Peer("nadamw", OPTAX | {"weight_decay": 0.0625})},
    ),
]
