"""Signals to `train`: it saves a checkpoint, ends, and says how to go on."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from types import FrameType
from typing import Any

from trainlib.cli.exit_status import INTERRUPTED, InterruptedRunError, exit_immediately
from trainlib.training.callback import Callback, Requests, Save, Stop, TrainingStatus

SAVED = 75
"""The status of a run that a signal or --stop_after ended with a checkpoint: start it again."""
HEARD = (signal.SIGINT, signal.SIGTERM)


class Signals(Callback):
    """Hears SIGINT, as of Ctrl-C, and SIGTERM.

    The first ends training after the step that is under way, with a checkpoint; another SIGINT
    ends the process at once. Before and after training each ends the command as an error does.

    Args:
        stop_after: batches of the whole run after which it ends in the same way; None: never.
    """

    def __init__(self, stop_after: int | None = None) -> None:
        self.every = self.stop_after = stop_after
        self._heard: signal.Signals | None = None
        self._training = False
        self._status: TrainingStatus | None = None
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Signals:
        self._before = {number: signal.getsignal(number) for number in HEARD}
        self.listen()
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def listen(self) -> None:
        """Begins to hear, again where something else has taken the signals for itself."""
        for number in HEARD:
            signal.signal(number, self._handle)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        heard = signal.Signals(number)
        if not self._training:
            raise KeyboardInterrupt if heard is signal.SIGINT else self._interrupted("SIGTERM")
        before, self._heard = self._heard, heard  # at first: the next one may come meanwhile
        if before is not None and heard is signal.SIGINT:
            os.write(2, b"\ntrain: interrupted at once\n")
            exit_immediately(INTERRUPTED)
        if before is None:
            os.write(2, f"\ntrain: {heard.name}, saving a checkpoint ...\n".encode())

    def on_train_begin(self, status: TrainingStatus) -> Requests:
        self._training = True
        if status.global_batch:
            print(f"going on {_place(status)}", flush=True)
        return None

    def on_train_batch_end(self, status: TrainingStatus) -> Requests:
        if self._heard is not None:
            return [Save(), Stop(self._heard.name, resumable=True)]
        if self.stop_after is not None and status.global_batch >= self.stop_after:
            return [Save(), Stop(f"--stop_after={self.stop_after}", resumable=True)]
        return None

    on_test_batch_end = on_epoch_end = on_train_batch_end

    def on_train_end(self, status: TrainingStatus) -> None:
        self._training, self._status = False, status

    @property
    def ended_resumable(self) -> bool:
        """Whether training was ended, and is to go on later."""
        stop = None if self._status is None else self._status.stop
        return stop is not None and stop.resumable

    def check(self, folder: Path | None) -> None:
        """Raises `InterruptedRunError` where training ended for now.

        Args:
            folder: of the run; None for a worker that does not report.
        """
        status = self._status
        if not self.ended_resumable or status is None or status.stop is None:
            return
        how = "" if folder is None else f"; to go on: train --resume={folder}"
        exit_status = INTERRUPTED if self._heard is signal.SIGINT else SAVED
        raise InterruptedRunError(
            f"{status.stop.reason}: stopped {_place(status)}{how}", exit_status
        )

    def _interrupted(self, name: str) -> InterruptedRunError:
        return InterruptedRunError(f"{name} outside of training", 128 + signal.SIGTERM)


def _place(status: TrainingStatus) -> str:
    """Where a run is, in words."""
    if not status.batch:
        return f"after epoch {status.epoch} of {status.epochs}"
    of = "" if status.steps_per_epoch is None else f" of {status.steps_per_epoch:,}"
    return f"in epoch {status.epoch} of {status.epochs}, after batch {status.batch:,}{of}"
