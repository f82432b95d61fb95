"""Callbacks that request checkpoints, and a stop that a later run resumes."""

from __future__ import annotations

import math
import time
from typing import Any

from trainlib.callbacks.monitors import monitored_value, of_skipped_validation
from trainlib.core.checks import check_integer, check_number
from trainlib.monitors import EarlyStopState, early_stop
from trainlib.training.callback import Callback, Requests, Save, Stop, TrainingStatus


class SaveEvery(Callback):
    """Requests a checkpoint at intervals of batches, seconds or epochs; give at least one of these.

    Args:
        steps: batches between two checkpoints, counted over the model's whole training, at least
            1. Default: None.
        seconds: seconds between two checkpoints, above 0. Default: None.
        epochs: epochs between two checkpoints, at least 1. Default: None.

    Raises:
        TypeError: an argument is not a number.
        ValueError: none is given, or one is out of range.

    Example:
        >>> tl.callbacks.SaveEvery(steps=1000, epochs=1).every
        1000
    """

    def __init__(
        self, *, steps: int | None = None, seconds: float | None = None, epochs: int | None = None
    ) -> None:
        if steps is None and seconds is None and epochs is None:
            raise ValueError("SaveEvery needs steps, seconds or epochs: SaveEvery(epochs=1)")
        if steps is not None:
            check_integer("steps", steps, at_least=1)
        if seconds is not None:
            check_number("seconds", seconds, above=0)
        if epochs is not None:
            check_integer("epochs", epochs, at_least=1)
        self.every, self.seconds, self.epochs = steps, seconds, epochs
        self._saved = time.monotonic()

    def on_train_begin(self, status: TrainingStatus) -> None:
        self._saved = time.monotonic()

    def on_train_batch_end(self, status: TrainingStatus) -> Requests:
        return self._save_if(self.every is not None and status.global_batch % self.every == 0)

    def on_epoch_end(self, status: TrainingStatus) -> Requests:
        return self._save_if(self.epochs is not None and status.epoch % self.epochs == 0)

    def _save_if(self, due: bool) -> Requests:
        """Request a checkpoint if one is due, or if enough seconds have passed."""
        now = time.monotonic()
        if not (due or (self.seconds is not None and now - self._saved >= self.seconds)):
            return None
        self._saved = now
        return Save()


class StopAfter(Callback):
    """Stops training after a number of batches, with a checkpoint, to be resumed later.

    Args:
        batches: batches trained on, counted over all fits of the model, at least 1.
        reason: the reason of the `Stop` request. Default: "N batches".

    Raises:
        TypeError: `batches` is not an integer.
        ValueError: `batches` is below 1.

    Example:
        >>> tl.callbacks.StopAfter(500).reason
        '500 batches'
    """

    def __init__(self, batches: int, reason: str = "") -> None:
        check_integer("batches", batches, at_least=1)
        self.every = self.batches = batches
        self.reason = reason or f"{batches} batches"

    def on_train_batch_end(self, status: TrainingStatus) -> Requests:
        if status.global_batch < self.batches:
            return None
        return [Save(), Stop(self.reason, resumable=True)]

    on_test_batch_end = on_epoch_end = on_train_batch_end


class SaveBest(Callback):
    """Requests a checkpoint after each epoch that is the best so far; the best one is kept.

    Args:
        monitor: name of the result that is compared. Default: "val_loss".
        mode: "min", lower is better; "max", higher is better; "auto", inferred from the name.
            Default: "auto".

    Raises:
        ValueError: "auto" cannot decide; at the start of a run, if no epoch will have such a
            result.

    Example:
        >>> tl.callbacks.SaveBest("val_accuracy").state is None
        True
    """

    def __init__(self, monitor: str = "val_loss", mode: str = "auto") -> None:
        self.monitor = early_stop(monitor, mode=mode)
        self.monitored = (monitor,)
        self.state: Any = None

    def on_train_begin(self, status: TrainingStatus) -> None:
        self.state = self.monitor.init()

    def on_epoch_end(self, status: TrainingStatus) -> Requests:
        if of_skipped_validation(status, self.monitor.monitor):
            return None
        value = monitored_value(self, self.monitor.monitor, status.results)
        # The flag to stop is reset: once it is set, the state is not updated any more.
        state: EarlyStopState = self.monitor.update(value, self.state)
        best = float(state.best)  # NaN before there is one
        improved = not math.isnan(best) and best != float(self.state.best)
        self.state = state._replace(stop=self.state.stop)
        return Save(best=True) if improved else None
