"""Muon."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any
from unittest import mock

from trainlib.verify.case import OptimizerCase, Peer

ADAM = {"adam_beta_1": 0.875, "adam_beta_2": 1 - 2.0**-10}
OURS = {"momentum": 0.9375, **ADAM}
# Keras rounds numbers that it is not given.
KERAS = OURS | {
    "epsilon": 1e-7,
    "muon_a": 3.4445,
    "muon_b": -4.7750,
    "muon_c": 2.0315,
    "rms_rate": 0.2,
    "weight_decay": 0.004,
    "adam_weight_decay": 0.004,
}
TORCH = {"momentum": 0.9375}
OPTAX = {"beta": 0.9375, "adam_b1": 0.875, "adam_b2": 1 - 2.0**-10}
WIDE = {"ns_dtype": None}
DION = (
    (4.0848, -6.8946, 2.9270),
    (3.9505, -6.3029, 2.6377),
    (3.7418, -5.5913, 2.3037),
    (2.8769, -3.1427, 1.2046),
    (2.8366, -3.0525, 1.2012),
)
SMALL = {"scale": 2.0**-20}


@contextlib.contextmanager
def _wide_iteration() -> Iterator[None]:
    """Run PyTorch's iteration in the dtype of the gradient instead of bfloat16."""
    import torch

    with mock.patch.object(torch.Tensor, "bfloat16", torch.Tensor.clone):
        yield


def _torch(options: dict[str, Any], ours: dict[str, Any] | None = None) -> Peer:
    return Peer(
        "Muon",
        TORCH | options,
        ours=WIDE | (ours or {}),
        patch=_wide_iteration,
        note="its iteration runs in bfloat16; lifted to float64",
    )


def _case(
    form: str,
    ours: dict[str, Any],
    keras: dict[str, Any],
    optax: dict[str, Any],
    problem: dict[str, Any] | None = None,
) -> OptimizerCase:
    peers = {"keras": Peer("Muon", KERAS | keras), "optax": Peer("muon", OPTAX | optax)}
    return OptimizerCase("muon", form, OURS | ours, peers, problem=problem or {})


def _matrices(
    form: str, ours: dict[str, Any], torch: Peer, problem: dict[str, Any] | None = None
) -> OptimizerCase:
    """Make a case of matrices, the only parameters that PyTorch accepts."""
    shapes = {"wide": (3, 6), "tall": (6, 4), "square": (4, 4), "row": (1, 5)}
    problem = {"shapes": shapes} | (problem or {})
    return OptimizerCase("muon", f"matrices{form}", OURS | ours, {"torch": torch}, problem=problem)


PLAIN = {"nesterov": False}
DECAY = {"weight_decay": 0.0625, "adam_weight_decay": 0.03125}
EPSILON = 2.0**-4

CASES = [
    _case("", {}, {}, {}),
    _case("small gradients", {}, {}, {}, SMALL),
    _case("no nesterov", PLAIN, PLAIN, PLAIN),
    _case("weight decay", DECAY, DECAY, DECAY),
    _case("2 steps", {"ns_steps": 2}, {"ns_steps": 2}, {"ns_steps": 2}),
    _case(
        "scale rms",
        {"scale": "rms", "rms_rate": 0.25},
        {"rms_rate": 0.25},
        {"consistent_rms": 0.25},
    ),
    OptimizerCase(
        "muon",
        "large epsilon",
        OURS | {"epsilon": EPSILON},
        {
            "keras": Peer("Muon", KERAS | {"epsilon": EPSILON}),
            "optax": Peer("muon", OPTAX | {"eps": EPSILON}, ours={"ns_epsilon": EPSILON}),
        },
    ),
    OptimizerCase(
        "muon",
        "no scale, excluded layers",
        OURS | {"scale": "none", "exclude_layers": ("^tal",), "adam_lr_ratio": 0.5},
        {
            "keras": Peer(
                "Muon",
                KERAS | {"rms_rate": None, "exclude_layers": ["^tal"], "adam_lr_ratio": 0.5},
            )
        },
    ),
    OptimizerCase(
        "muon",
        "coefficients of each step",
        OURS | {"ns_coefficients": DION},
        {"optax": Peer("muon", OPTAX | {"ns_coeffs": DION})},
    ),
    _matrices("", {}, _torch({})),
    _matrices(", small gradients", {}, _torch({}), SMALL),
    _matrices(", no nesterov", PLAIN, _torch(PLAIN)),
    _matrices(", large epsilon", {"ns_epsilon": 4.0}, _torch({"eps": 4.0})),
    _matrices(", scale rms", {"scale": "rms"}, _torch({"adjust_lr_fn": "match_rms_adamw"})),
]
