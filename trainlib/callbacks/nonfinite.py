"""What a run does at a step whose loss or gradients are not finite."""

from __future__ import annotations

import math

from trainlib.callbacks.base import Callback, Facts, NonFiniteError, Requests, RollBack

POLICIES = ("none", "epoch", "skip", "stop", "roll_back")
UNGUARDED = ("none", "epoch")
"""Those at which no step is looked at."""
HALTING = ("stop", "roll_back")
"""Those at which a call to the device ends behind such a step."""


class StopAfterEpoch(Callback):
    """Ends the run after an epoch whose loss is not finite."""

    def on_epoch(self, facts: Facts) -> None:
        if not math.isfinite(facts.results["loss"]):
            raise NonFiniteError(f"the loss of epoch {facts.epoch} is not finite")


class StopAtNonFinite(Callback):
    """Ends the run at such a step, of which nothing is left but its name."""

    def on_step(self, facts: Facts) -> None:
        if facts.not_finite is not None:
            message = f"{what_happened(facts)}; the state is that before it"
            raise NonFiniteError(message, facts.batches)


class RollBackAtNonFinite(Callback):
    """Asks for the last good checkpoint at such a step."""

    def on_step(self, facts: Facts) -> Requests:
        return None if facts.not_finite is None else RollBack(what_happened(facts))


def of_policy(name: str) -> list[Callback]:
    """What makes a run keep to a policy, beside the step itself."""
    kinds: dict[str, type[Callback]] = {
        "epoch": StopAfterEpoch,
        "stop": StopAtNonFinite,
        "roll_back": RollBackAtNonFinite,
    }
    return [kinds[name]()] if name in kinds else []


def what_happened(facts: Facts) -> str:
    """Which step it was, and what was not finite."""
    of = "" if facts.steps is None else f" of {facts.steps:,}"
    return (
        f"step {facts.batches} (batch {facts.position:,}{of} in epoch {facts.epoch}): "
        f"{facts.not_finite} is not finite"
    )
