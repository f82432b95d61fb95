"""What a run does at a step whose loss or gradients are not finite."""

from __future__ import annotations

import math

from trainlib.training.callback import Callback, NonFiniteError, Requests, RollBack, TrainingStatus

POLICIES = ("none", "epoch", "skip", "stop", "roll_back")
UNGUARDED = ("none", "epoch")
"""Those at which no step is looked at."""
HALTING = ("stop", "roll_back")
"""Those at which a call to the device ends behind such a step."""


class StopAfterEpoch(Callback):
    """Ends the run after an epoch whose loss is not finite."""

    def on_epoch_end(self, status: TrainingStatus) -> None:
        if not math.isfinite(status.results["loss"]):
            raise NonFiniteError(f"the loss of epoch {status.epoch} is not finite")


class StopAtNonFinite(Callback):
    """Ends the run at such a step, of which nothing is left but its name."""

    def on_train_batch_end(self, status: TrainingStatus) -> None:
        if status.nonfinite is not None:
            message = f"{what_happened(status)}; the state is that before it"
            raise NonFiniteError(message, status.global_batch)


class RollBackAtNonFinite(Callback):
    """Asks for the last good checkpoint at such a step."""

    def on_train_batch_end(self, status: TrainingStatus) -> Requests:
        return None if status.nonfinite is None else RollBack(what_happened(status))


def callbacks_for_policy(name: str) -> list[Callback]:
    """What makes a run keep to a policy, beside the step itself."""
    kinds: dict[str, type[Callback]] = {
        "epoch": StopAfterEpoch,
        "stop": StopAtNonFinite,
        "roll_back": RollBackAtNonFinite,
    }
    return [kinds[name]()] if name in kinds else []


def what_happened(status: TrainingStatus) -> str:
    """Which step it was, and what was not finite."""
    of = "" if status.steps_per_epoch is None else f" of {status.steps_per_epoch:,}"
    return (
        f"step {status.global_batch} (batch {status.batch:,}{of} in epoch {status.epoch}): "
        f"{status.nonfinite} is not finite"
    )
