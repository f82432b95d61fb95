"""How a run is shown: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from typing import Any, TextIO

from trainlib.callbacks.base import Callback, Progress, Results

HIDDEN = ("epoch", "step", "seconds")
"""Results that a line shows in its own way, or not at all."""


def describe(results: Results) -> str:
    """The numbers among the results on one line: `loss 0.3012  accuracy 0.8921 ...`."""
    numbers = {name: x for name, x in results.items() if isinstance(x, (int, float))}
    return "  ".join(f"{name} {x:.4g}" for name, x in numbers.items() if name not in HIDDEN)


class Lines(Callback):
    """A plain line an epoch."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream = stream

    def on_epoch(self, progress: Progress, results: Results) -> None:
        stream = self.stream or sys.stdout
        width = len(str(progress.epochs))
        print(
            f"epoch {progress.epoch:{width}d}/{progress.epochs}  {describe(results)}  "
            f"{_speed(progress.position, results['seconds'])}",
            file=stream,
            flush=True,
        )


class Bar(Callback):
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

    def on_step(self, progress: Progress) -> None:
        now = time.monotonic()
        label = f"{progress.epoch}/{progress.epochs}"
        if self.task is None:
            self.bar.start()
            self.task = self.bar.add_task("", total=progress.steps, epoch=label, results="")
            self.started = now
        self.bar.update(self.task, completed=progress.position, total=progress.steps, epoch=label)
        if now - self.shown > self.SECONDS_BETWEEN_RESULTS:
            speed = _speed(progress.position, now - self.started) if now > self.started else ""
            self.bar.update(self.task, results=f"{describe(progress.metrics())}  {speed}")
            self.shown = now

    def on_epoch(self, progress: Progress, results: Results) -> None:
        width = len(str(progress.epochs))
        self.console.print(
            f"epoch {progress.epoch:{width}d}/{progress.epochs}  {describe(results)}  "
            f"{_speed(progress.position, results['seconds'])}",
            highlight=False,
        )
        if self.task is not None and progress.epoch < progress.epochs:
            self.bar.reset(self.task, epoch=f"{progress.epoch + 1}/{progress.epochs}", results="")
        self.started = time.monotonic()

    def on_end(self) -> None:
        self.bar.stop()
        if self.task is not None:
            self.bar.remove_task(self.task)
            self.task = None


def _speed(steps: int, seconds: float) -> str:
    """Steps per second, rounded to what a reader can use."""
    return f"{steps / max(seconds, 1e-9):,.0f} steps/s"
