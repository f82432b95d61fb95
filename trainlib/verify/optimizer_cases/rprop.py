"""Rprop."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any
from unittest import mock

from trainlib.verify.case import OptimizerCase, Peer


@contextlib.contextmanager
def first_rate() -> Iterator[None]:
    """Give Optax's rprop the first value of a schedule; it accepts no schedule."""
    import optax

    rprop = optax.rprop

    def with_first(learning_rate: Any, **options: Any) -> Any:
        return rprop(learning_rate(0), **options)

    with mock.patch.object(optax, "rprop", with_first):
        yield


def rprop(form: str, eta_minus: float, eta_plus: float, low: float, high: float) -> OptimizerCase:
    """Make a case of Rprop."""
    options = {
        "eta_minus": eta_minus,
        "eta_plus": eta_plus,
        "min_step_size": low,
        "max_step_size": high,
    }
    theirs = {"etas": (eta_minus, eta_plus), "step_sizes": (low, high)}
    peers = {
        "torch": Peer("Rprop", theirs),
        "optax": Peer("rprop", options, patch=first_rate, note="the schedule's first rate"),
    }
    return OptimizerCase("rprop", form, options, peers)


CASES = [
    rprop("", 0.5, 1.2, 1e-6, 50.0),
    rprop("narrow bounds", 0.75, 1.25, 2.0**-7, 2.0**-5),
]
