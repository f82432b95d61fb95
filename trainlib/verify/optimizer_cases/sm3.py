"""SM3, which only Optax has."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any
from unittest import mock

from trainlib.verify.case import OptimizerCase, Peer
from trainlib.verify.problem import SHAPES

NOT_SCALAR = {name: shape for name, shape in SHAPES.items() if shape}


@contextlib.contextmanager
def open_sm3() -> Iterator[None]:
    """Return Optax's sm3 with a schedule and an epsilon, composed of its parts."""
    import optax

    def sm3(learning_rate: Any, momentum: float = 0.9, eps: float = 1e-8) -> Any:
        return optax.chain(
            optax.scale_by_sm3(momentum, eps=eps), optax.scale_by_learning_rate(learning_rate)
        )

    with mock.patch.object(optax, "sm3", sm3):
        yield


def sm3(
    form: str, epsilon: float = 1e-8, scale: float = 1.0, momentum: float = 0.875
) -> OptimizerCase:
    """Make a case without a scalar parameter, on which Optax fails."""
    theirs = {"momentum": momentum, "eps": epsilon}
    peer = Peer("sm3", theirs, patch=open_sm3, note="chained from its parts; no scalar parameter")
    ours = {"momentum": momentum, "epsilon": epsilon}
    problem = {"scale": scale, "shapes": NOT_SCALAR}
    return OptimizerCase("sm3", form, ours, {"optax": peer}, problem=problem)


CASES = [
    sm3(""),
    sm3("large epsilon", epsilon=2.0**-7),
    sm3("no epsilon", epsilon=0.0),
    sm3("small gradients", epsilon=2.0**-40, scale=2.0**-20),
    sm3("no momentum", momentum=0.0),
]
