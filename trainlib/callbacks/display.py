"""How a run is shown: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from typing import Any, TextIO

from trainlib.training.callback import Callback, Results, TrainingStatus

HIDDEN = ("epoch", "step", "seconds")
"""Results that a line shows in its own way, or not at all."""


def describe(results: Results) -> str:
    """The numbers among the results on one line: `loss 0.3012  accuracy 0.8921 ...`."""
    numbers = {name: x for name, x in results.items() if isinstance(x, (int, float))}
    return "  ".join(f"{name} {x:.4g}" for name, x in numbers.items() if name not in HIDDEN)


class LineLogger(Callback):
    """A plain line an epoch."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream = stream

    def on_epoch_end(self, status: TrainingStatus) -> None:
        print(_line(status), file=self.stream or sys.stdout, flush=True)


class ProgressBar(Callback):
    """A bar for the epoch under way, with its results so far, above it the lines of the others."""

    SECONDS_BETWEEN_RESULTS = 0.5

    def __init__(self, console: Any = None) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress

        self.console = console or Console()
        self.bar = RichProgress(
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.fields[results]}"),
            console=self.console,
            transient=True,
        )
        self.task: Any = None
        self.started = self.shown = 0.0
        self.begun = 0

    def on_train_batch_end(self, status: TrainingStatus) -> None:
        now = time.monotonic()
        label = f"{status.epoch}/{status.epochs}"
        if self.task is None:
            self.bar.start()
            self.task = self.bar.add_task("", total=status.steps_per_epoch, epoch=label, results="")
            self.started, self.begun = now, status.batch
        self.bar.update(
            self.task, completed=status.batch, total=status.steps_per_epoch, epoch=label
        )
        if now - self.shown > self.SECONDS_BETWEEN_RESULTS:
            steps, seconds = status.batch - self.begun, now - self.started
            speed = _speed(steps, seconds) if steps > 0 and seconds > 0 else ""
            self.bar.update(self.task, results=f"{describe(status.metrics())}  {speed}")
            self.shown = now

    def on_epoch_end(self, status: TrainingStatus) -> None:
        self.console.print(_line(status), highlight=False)
        if self.task is not None and status.epoch < status.epochs:
            self.bar.reset(self.task, epoch=f"{status.epoch + 1}/{status.epochs}", results="")
        self.started, self.begun = time.monotonic(), 0

    def on_train_end(self, status: TrainingStatus) -> None:
        self.bar.stop()
        if self.task is not None:
            self.bar.remove_task(self.task)
            self.task = None


def _line(status: TrainingStatus) -> str:
    """An epoch that has ended: its number, its results, and how fast it was."""
    width, results = len(str(status.epochs)), status.results
    speed = _speed(status.batch, results["seconds"])
    return f"epoch {status.epoch:{width}d}/{status.epochs}  {describe(results)}  {speed}"


def _speed(steps: int, seconds: float) -> str:
    """Steps per second, rounded to what a reader can use."""
    return f"{steps / max(seconds, 1e-9):,.0f} steps/s"
