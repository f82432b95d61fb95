"""SIGINT and SIGTERM: `train` saves a checkpoint, stops, and says how to resume."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from trainlib.cli import output
from trainlib.cli.errors import InterruptedRunError, Terminated
from trainlib.cli.exit_status import INTERRUPTED, OF_SIGNAL, STOPPED
from trainlib.cli.process_exit import exit_immediately
from trainlib.training.callback import Callback, Requests, Save, Stop, TrainingStatus
from trainlib.training.paths import shown

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextlib.contextmanager
def interrupts() -> Iterator[None]:
    """Let SIGINT raise `KeyboardInterrupt` and SIGTERM `Terminated`; restore the handlers after."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handlers = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: _terminate}
    previous = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _terminate(number: int, frame: FrameType | None) -> None:
    """Handle SIGTERM."""
    raise Terminated


class StopOnSignal(Callback):
    """Callback that stops training with a checkpoint on SIGINT (Ctrl-C) or SIGTERM.

    The first signal stops training after the current step; a second SIGINT ends the process
    immediately. Before and after training a signal raises `KeyboardInterrupt` or `Terminated`.

    As a context manager it installs the handlers on entry and restores the previous ones on exit.
    """

    def __init__(self) -> None:
        self._received: signal.Signals | None = None
        self._training = False
        self._last_status: TrainingStatus | None = None
        self._previous_handlers: dict[signal.Signals, Any] = {}

    def __enter__(self) -> StopOnSignal:
        self._previous_handlers = {number: signal.getsignal(number) for number in SIGNALS}
        self.install_handlers()
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._previous_handlers.items():
            signal.signal(number, handler)

    def install_handlers(self) -> None:
        """Install the handlers. Call it again after a library has replaced them."""
        for number in SIGNALS:
            signal.signal(number, self._handle)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        received = signal.Signals(number)
        if not self._training:
            raise KeyboardInterrupt if received is signal.SIGINT else Terminated
        # Set first, because another signal may arrive while this handler runs.
        previous, self._received = self._received, received
        if previous is not None and received is signal.SIGINT:
            os.write(2, b"\ntrain: interrupted immediately, without a checkpoint\n")
            exit_immediately(INTERRUPTED)
        if previous is None:
            os.write(2, f"\ntrain: {received.name}, saving a checkpoint ...\n".encode())

    def on_train_begin(self, status: TrainingStatus) -> Requests:
        """Print where a resumed run starts."""
        self._training = True
        if status.global_batch:
            output.log(f"resuming {_position(status)}")
        return None

    def on_train_batch_end(self, status: TrainingStatus) -> Requests:
        """Request a checkpoint and a stop after a signal."""
        if self._received is None:
            return None
        return [Save(), Stop(self._received.name, resumable=True)]

    on_test_batch_end = on_epoch_end = on_train_batch_end

    def on_train_end(self, status: TrainingStatus) -> None:
        """Keep the last status for `raise_if_stopped`."""
        self._training, self._last_status = False, status

    @property
    def stopped_resumable(self) -> bool:
        """Whether training was stopped and can be resumed."""
        stop = None if self._last_status is None else self._last_status.stop
        return stop is not None and stop.resumable

    def raise_if_stopped(self, folder: Path | None) -> None:
        """Raise `InterruptedRunError` if training was stopped and can be resumed.

        Args:
            folder: folder of the run; None for a worker that writes no files.
        """
        status = self._last_status
        if not self.stopped_resumable or status is None or status.stop is None:
            return
        how = "" if folder is None else f"; resume with: train --resume={shown(folder)}"
        message = f"{status.stop.reason}: stopped {_position(status)}{how}"
        status_of_stop = STOPPED if self._received is None else OF_SIGNAL[self._received]
        raise InterruptedRunError(message, status_of_stop)


def _position(status: TrainingStatus) -> str:
    """Return the position of a run in words."""
    if not status.batch:
        return f"after epoch {status.epoch} of {status.epochs}"
    of = "" if status.steps_per_epoch is None else f" of {status.steps_per_epoch:,}"
    return f"in epoch {status.epoch} of {status.epochs}, after batch {status.batch:,}{of}"
