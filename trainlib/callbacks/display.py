"""How a run is shown: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from typing import Any, TextIO

from trainlib.callbacks.base import Callback, Facts, Results

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

    def on_epoch(self, facts: Facts) -> None:
        print(_line(facts), file=self.stream or sys.stdout, flush=True)


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
        self.begun = 0

    def on_step(self, facts: Facts) -> None:
        now = time.monotonic()
        label = f"{facts.epoch}/{facts.epochs}"
        if self.task is None:
            self.bar.start()
            self.task = self.bar.add_task("", total=facts.steps, epoch=label, results="")
            self.started, self.begun = now, facts.position
        self.bar.update(self.task, completed=facts.position, total=facts.steps, epoch=label)
        if now - self.shown > self.SECONDS_BETWEEN_RESULTS:
            steps, seconds = facts.position - self.begun, now - self.started
            speed = _speed(steps, seconds) if steps > 0 and seconds > 0 else ""
            self.bar.update(self.task, results=f"{describe(facts.metrics())}  {speed}")
            self.shown = now

    def on_epoch(self, facts: Facts) -> None:
        self.console.print(_line(facts), highlight=False)
        if self.task is not None and facts.epoch < facts.epochs:
            self.bar.reset(self.task, epoch=f"{facts.epoch + 1}/{facts.epochs}", results="")
        self.started, self.begun = time.monotonic(), 0

    def on_end(self, facts: Facts) -> None:
        self.bar.stop()
        if self.task is not None:
            self.bar.remove_task(self.task)
            self.task = None


def _line(facts: Facts) -> str:
    """An epoch that has ended: its number, its results, and how fast it was."""
    width, results = len(str(facts.epochs)), facts.results
    speed = _speed(facts.position, results["seconds"])
    return f"epoch {facts.epoch:{width}d}/{facts.epochs}  {describe(results)}  {speed}"


def _speed(steps: int, seconds: float) -> str:
    """Steps per second, rounded to what a reader can use."""
    return f"{steps / max(seconds, 1e-9):,.0f} steps/s"
