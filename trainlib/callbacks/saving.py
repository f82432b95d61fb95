"""Callbacks that ask for checkpoints."""

from __future__ import annotations

import math
import time
from typing import Any

from trainlib.callbacks.monitors import monitored
from trainlib.core.checks import check_integer, check_number
from trainlib.monitors import EarlyStopState, early_stop
from trainlib.training.callback import Callback, Requests, Save, TrainingStatus


class SaveEvery(Callback):
    """Asks for a checkpoint every so many batches, seconds or epochs; any of them, or several.

    Args:
        steps: batches from one to the next, counted over the model's whole training, at least 1.
        seconds: from one to the next, above 0.
        epochs: from one to the next, at least 1.

    Raises:
        ValueError, TypeError: none of them is given, or one is out of its range.
    """

    def __init__(
        self, *, steps: int | None = None, seconds: float | None = None, epochs: int | None = None
    ) -> None:
        if steps is None and seconds is None and epochs is None:
            raise ValueError("SaveEvery needs steps, seconds or epochs")
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
        now = time.monotonic()
        if not (due or (self.seconds is not None and now - self._saved >= self.seconds)):
            return None
        self._saved = now
        return Save()


class SaveBest(Callback):
    """Asks for a checkpoint after each epoch that is the best so far, which is then kept.

    Args:
        monitor: the name of the result that tells.
        mode: "min", less is better; "max", more is; "auto", as the name tells.

    Raises:
        ValueError, TypeError: a name that tells no direction; after an epoch, a result that is not
            there.
    """

    def __init__(self, monitor: str = "val_loss", mode: str = "auto") -> None:
        self.machine = early_stop(monitor, mode=mode)
        self.state: Any = None

    def on_train_begin(self, status: TrainingStatus) -> None:
        self.state = self.machine.init()

    def on_epoch_end(self, status: TrainingStatus) -> Requests:
        value = monitored(self, self.machine.monitor, status.results)
        # Its sign to stop is not wanted: with it the state would be final.
        state: EarlyStopState = self.machine.update(value, self.state)
        best = float(state.best)  # NaN before there is one
        improved = not math.isnan(best) and best != float(self.state.best)
        self.state = state._replace(stop=self.state.stop)
        return Save(best=True) if improved else None
