"""Adafactor."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any
from unittest import mock

from trainlib.verify.case import OptimizerCase, Peer

POWER = {"beta_2_decay": -0.75}
SMALL = {"min_dim": 2}
WIDE_POWER = "its power of t runs in float32; lifted to float64"
# Keras rounds numbers that it is not given.
KERAS = POWER | {"epsilon_1": 1e-30, "epsilon_2": 1e-3, "clip_threshold": 1.0}


@contextlib.contextmanager
def _wide_power() -> Iterator[None]:
    """Compute Optax's power of t in float64; its Adafactor computes it in float32 for any dtype."""
    import jax.numpy as jnp
    from optax._src import factorized

    def decay_rate(i: Any, exponent: float = 0.8) -> Any:
        return 1.0 - jnp.asarray(i + 1, float) ** (-exponent)

    defaults = list(factorized.scale_by_factored_rms.__defaults__ or ())
    defaults[-1] = decay_rate
    with mock.patch.object(factorized.scale_by_factored_rms, "__defaults__", tuple(defaults)):
        yield


def _optax(options: dict[str, Any], ours: dict[str, Any] | None = None) -> Peer:
    theirs = {"decay_rate": 0.75, "min_dim_size_to_factor": 2, "dtype_momentum": "float64"}
    return Peer(
        "adafactor",
        theirs | options,
        ours=SMALL | (ours or {}),
        patch=_wide_power,
        note=WIDE_POWER,
    )


def _case(
    form: str,
    options: dict[str, Any],
    torch: dict[str, Any],
    optax: dict[str, Any] | None,
    problem: dict[str, Any],
) -> OptimizerCase:
    peers = {
        "keras": Peer("Adafactor", KERAS | options),
        "torch": Peer("Adafactor", {"beta2_decay": -0.75} | torch),
    }
    if optax is not None:
        peers["optax"] = _optax(optax)
    return OptimizerCase("adafactor", form, POWER | options, peers, problem=problem)


DECAY = {"weight_decay": 0.0625}
CLIP = {"clip_threshold": 1.25}
CASES = [
    _case("", {}, {}, {}, {}),
    _case(
        "the default power", {"beta_2_decay": -0.8}, {"beta2_decay": -0.8}, {"decay_rate": 0.8}, {}
    ),
    _case("small gradients", {}, {}, {}, {"scale": 2.0**-20}),
    _case(
        "large epsilon_1", {"epsilon_1": 2.0**-4}, {"eps": (2.0**-4, 1e-3)}, {"eps": 2.0**-4}, {}
    ),
    _case("large epsilon_2", {"epsilon_2": 0.5}, {"eps": (None, 0.5)}, None, {}),
    _case("clip_threshold", CLIP, {"d": 1.25}, {"clipping_threshold": 1.25}, {}),
    _case("rate of 1", {}, {}, {}, {"rate": 1.0}),
    _case("weight decay", DECAY, DECAY, {"weight_decay_rate": 0.0625}, {}),
    OptimizerCase(
        "adafactor",
        "no clipping, not factored, not scaled",
        POWER | {"clip_threshold": None, "factor_axes": "none", "scale_parameter": False},
        {
            "optax": _optax(
                {
                    "clipping_threshold": None,
                    "factored": False,
                    "multiply_by_parameter_scale": False,
                }
            )
        },
    ),
    OptimizerCase(
        "adafactor",
        "min_dim",
        POWER,
        {"optax": _optax({"min_dim_size_to_factor": 4}, {"min_dim": 4})},
    ),
    OptimizerCase(
        "adafactor",
        "momentum",
        POWER | DECAY | {"momentum": 0.875},
        {"optax": _optax({"momentum": 0.875, "weight_decay_rate": 0.0625})},
    ),
    OptimizerCase(
        "adafactor",
        "two largest axes",
        POWER,
        {"optax": _optax({})},
        problem={"shapes": {"a": (5, 2, 3), "b": (2, 5, 3), "c": (3, 2, 5), "d": (2, 3, 4, 5)}},
    ),
]
