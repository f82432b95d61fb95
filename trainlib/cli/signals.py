"""Signals to `train`: it saves a checkpoint, ends, and says how to go on."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from types import FrameType
from typing import Any

from trainlib.callbacks.base import Callback, Facts, Requests, Save, Stop
from trainlib.cli.command import INTERRUPTED, Interrupted, end_at_once

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
        self._facts: Facts | None = None
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
            end_at_once(INTERRUPTED)
        if before is None:
            os.write(2, f"\ntrain: {heard.name}, saving a checkpoint ...\n".encode())

    def on_start(self, facts: Facts) -> Requests:
        self._training = True
        if facts.batches:
            print(f"going on {_place(facts)}", flush=True)
        return None

    def on_step(self, facts: Facts) -> Requests:
        if self._heard is not None:
            return [Save(), Stop(self._heard.name, for_now=True)]
        if self.stop_after is not None and facts.batches >= self.stop_after:
            return [Save(), Stop(f"--stop_after={self.stop_after}", for_now=True)]
        return None

    on_evaluation = on_epoch = on_step

    def on_end(self, facts: Facts) -> None:
        self._training, self._facts = False, facts

    @property
    def ended_for_now(self) -> bool:
        """Whether training was ended, and is to go on later."""
        stop = None if self._facts is None else self._facts.stop
        return stop is not None and stop.for_now

    def check(self, folder: Path | None) -> None:
        """Raises `Interrupted` where training ended for now.

        Args:
            folder: of the run; None for a worker that does not report.
        """
        facts = self._facts
        if not self.ended_for_now or facts is None or facts.stop is None:
            return
        how = "" if folder is None else f"; to go on: train --resume={folder}"
        status = INTERRUPTED if self._heard is signal.SIGINT else SAVED
        raise Interrupted(f"{facts.stop.reason}: stopped {_place(facts)}{how}", status)

    def _interrupted(self, name: str) -> Interrupted:
        return Interrupted(f"{name} outside of training", 128 + signal.SIGTERM)


def _place(facts: Facts) -> str:
    """Where a run is, in words."""
    if not facts.position:
        return f"after epoch {facts.epoch} of {facts.epochs}"
    of = "" if facts.steps is None else f" of {facts.steps:,}"
    return f"in epoch {facts.epoch} of {facts.epochs}, after batch {facts.position:,}{of}"
