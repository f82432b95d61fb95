"""The policies for a step whose loss or gradients are not finite, as callbacks.

An update with finite gradients can make a parameter infinite or NaN, for example by a division by
0. The loss of the next steps is then not finite, which the policies detect. So the parameters are
tested only when a step has ended the run, after an epoch without a finite loss, and at the end.
"""

from __future__ import annotations

import math

from trainlib.step.finite_guard import A_PARAMETER
from trainlib.training.callback import Callback, NonFiniteError, Requests, RollBack, TrainingStatus

POLICIES = ("none", "epoch", "skip", "stop", "roll_back")
UNGUARDED = ("none", "epoch")
"""Policies that do not test each step."""
HALTING = ("stop", "roll_back")
"""Policies that end a call to the device after a step that is not finite."""


class StopAtNonFiniteParameter(Callback):
    """Ends the run after an epoch if a parameter is not finite: no later step can be finite.

    The parameters are tested if the loss of the epoch is not finite, and after the last epoch.
    """

    def on_epoch_end(self, status: TrainingStatus) -> Requests:
        if status.epoch == status.epochs or not math.isfinite(status.results["loss"]):
            path = status.nonfinite_parameter()
            if path is not None:
                return self.react(f"{A_PARAMETER} {path} is not finite after epoch {status.epoch}")
        return None

    def react(self, message: str) -> Requests:
        """Raise `NonFiniteError` with a message that names the parameter."""
        raise NonFiniteError(message)


class StopAfterEpoch(StopAtNonFiniteParameter):
    """Ends the run after an epoch whose loss, or at the end a parameter, is not finite.

    An epoch has no loss if a loss scale skipped all of its steps: the run continues while there
    are lower scales to try.
    """

    def on_epoch_end(self, status: TrainingStatus) -> Requests:
        if not math.isfinite(status.results["loss"]):
            guard = status.state().finite_guard
            if guard == () or bool(guard.exhausted):
                raise NonFiniteError(f"the loss of epoch {status.epoch} is not finite")
        return super().on_epoch_end(status)


class StopAtNonFinite(StopAtNonFiniteParameter):
    """Ends the run at a step that is not finite, with the state before it."""

    def on_train_batch_end(self, status: TrainingStatus) -> None:
        if status.nonfinite_tensor is not None:
            message = f"{describe_nonfinite(status)}; the state is that before it"
            raise NonFiniteError(message, status.global_batch)


class RollBackAtNonFinite(StopAtNonFiniteParameter):
    """Requests the newest checkpoint at a step that is not finite."""

    def on_train_batch_end(self, status: TrainingStatus) -> Requests:
        return None if status.nonfinite_tensor is None else RollBack(describe_nonfinite(status))

    def react(self, message: str) -> Requests:
        """Request the newest checkpoint."""
        return RollBack(message)


def callbacks_for_policy(name: str) -> list[Callback]:
    """Return the callbacks that carry out a policy."""
    kinds: dict[str, type[Callback]] = {
        "epoch": StopAfterEpoch,
        "skip": StopAtNonFiniteParameter,
        "stop": StopAtNonFinite,
        "roll_back": RollBackAtNonFinite,
    }
    return [kinds[name]()] if name in kinds else []


def describe_nonfinite(status: TrainingStatus) -> str:
    """Return a description of the step and of the tensor that was not finite."""
    out_of = "" if status.steps_per_epoch is None else f" of {status.steps_per_epoch:,}"
    tensor = str(status.nonfinite_tensor)
    since = " since an earlier update" if tensor.startswith(A_PARAMETER) else ""
    return (
        f"step {status.global_batch} (batch {status.batch:,}{out_of} in epoch {status.epoch}): "
        f"{tensor} is not finite{since}"
    )
