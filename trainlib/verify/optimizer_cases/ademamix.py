"""AdEMAMix."""

from __future__ import annotations

import math
from typing import Any

from trainlib.optimizers.ademamix import ademamix_alpha, ademamix_beta_3
from trainlib.verify.case import OptimizerCase, Peer

B1, B2, B3 = 0.875, 1 - 2.0**-10, 1 - 2.0**-13
BETAS = {"beta_1": B1, "beta_2": B2, "beta_3": B3}
OPTAX = {"b1": B1, "b2": B2, "b3": B3}
PLAIN = {"optax": Peer("ademamix", OPTAX)}
WARMUP = 128


def alpha_of_optax(step: Any) -> Any:
    """Return the paper's alpha, 5 after the warm-up."""
    import jax.numpy as jnp

    return jnp.minimum((step + 1.0) * 5.0 / WARMUP, 5.0)


def beta_3_of_optax(step: Any) -> Any:
    """Return the paper's beta_3."""
    import jax.numpy as jnp

    done = (step + 1.0) / WARMUP
    low, high = math.log(B1), math.log(B3)
    return jnp.minimum(jnp.exp(low * high / ((1 - done) * high + done * low)), B3)


CASES = [
    OptimizerCase("ademamix", "", BETAS, PLAIN),
    OptimizerCase("ademamix", "small gradients", BETAS, PLAIN, problem={"scale": 2.0**-20}),
    OptimizerCase(
        "ademamix",
        "large epsilon",
        BETAS | {"epsilon": 2.0**-7, "eps_root": 2.0**-10},
        {"optax": Peer("ademamix", OPTAX | {"eps": 2.0**-7, "eps_root": 2.0**-10})},
    ),
    OptimizerCase(
        "ademamix",
        "weight decay",
        BETAS | {"alpha": 8.0, "weight_decay": 0.0625},
        {"optax": Peer("ademamix", OPTAX | {"alpha": 8.0, "weight_decay": 0.0625})},
    ),
    OptimizerCase(
        "ademamix",
        "warm-up",
        BETAS
        | {
            "alpha": ademamix_alpha(5.0, WARMUP),
            "beta_3": ademamix_beta_3(B3, WARMUP, B1),
        },
        {
            "optax": Peer(
                "ademamix",
                OPTAX | {"alpha": alpha_of_optax, "b3": beta_3_of_optax},
                note="with the paper's schedules",
            )
        },
    ),
]
