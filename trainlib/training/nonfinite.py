"""The policies for a step whose loss or gradients are not finite, as callbacks."""

from __future__ import annotations

import math

from trainlib.training.callback import Callback, NonFiniteError, Requests, RollBack, TrainingStatus

POLICIES = ("none", "epoch", "skip", "stop", "roll_back")
UNGUARDED = ("none", "epoch")
"""Policies that do not test each step."""
HALTING = ("stop", "roll_back")
"""Policies that end a call to the device after a step that is not finite."""


class StopAfterEpoch(Callback):
    """Ends the run after an epoch whose loss is not finite.

    An epoch has no loss if a loss scale skipped all of its steps: the run continues while there
    are lower scales to try.
    """

    def on_epoch_end(self, status: TrainingStatus) -> None:
        if math.isfinite(status.results["loss"]):
            return
        guard = status.state().finite_guard
        if guard == () or bool(guard.exhausted):
            raise NonFiniteError(f"the loss of epoch {status.epoch} is not finite")


class StopAtNonFinite(Callback):
    """Ends the run at a step that is not finite, with the state before it."""

    def on_train_batch_end(self, status: TrainingStatus) -> None:
        if status.nonfinite_tensor is not None:
            message = f"{describe_nonfinite(status)}; the state is that before it"
            raise NonFiniteError(message, status.global_batch)


class RollBackAtNonFinite(Callback):
    """Requests the last good checkpoint at a step that is not finite."""

    def on_train_batch_end(self, status: TrainingStatus) -> Requests:
        return None if status.nonfinite_tensor is None else RollBack(describe_nonfinite(status))


def callbacks_for_policy(name: str) -> list[Callback]:
    """Return the callbacks that carry out a policy."""
    kinds: dict[str, type[Callback]] = {
        "epoch": StopAfterEpoch,
        "stop": StopAtNonFinite,
        "roll_back": RollBackAtNonFinite,
    }
    return [kinds[name]()] if name in kinds else []


def describe_nonfinite(status: TrainingStatus) -> str:
    """Return a description of the step and of the tensor that was not finite."""
    out_of = "" if status.steps_per_epoch is None else f" of {status.steps_per_epoch:,}"
    return (
        f"step {status.global_batch} (batch {status.batch:,}{out_of} in epoch {status.epoch}): "
        f"{status.nonfinite_tensor} is not finite"
    )
