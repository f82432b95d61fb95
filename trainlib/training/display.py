"""The display of a run: a progress bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TextIO

from trainlib.training.callback import NOT_METRICS, Callback, Results, TrainingStatus

BAR_WIDTH = 20
"""Columns of a progress bar."""
NARROW = 64
"""Columns of a terminal below which the bar is shorter."""


def format_results(results: Results) -> str:
    """Return the numbers among the results on one line: `loss 0.3012  accuracy 0.8921 ...`."""
    return "  ".join(_result_texts(results))


def _result_texts(results: Results) -> Iterator[str]:
    """Yield each number among the results as text: "loss 0.3012"."""
    for name, x in results.items():
        if isinstance(x, (int, float)) and name not in NOT_METRICS:
            yield f"{name} {x:.4g}"


def _fitting(texts: Iterable[str], width: int) -> str:
    """Return as many of the texts as fit a width, from the first on."""
    line = ""
    for text in texts:
        longer = f"{line}  {text}" if line else text
        if len(longer) > width:
            break
        line = longer
    return line


class LoggedLines(io.TextIOBase):
    """A text stream whose lines are passed to a function.

    Args:
        log: function called with each line, without its end.
    """

    def __init__(self, log: Callable[[str], Any]) -> None:
        self._log = log

    def write(self, text: str) -> int:
        if text != "\n":
            self._log(text)
        return len(text)


class LineLogger(Callback):
    """Prints a line after each epoch: its results and the steps per second.

    Args:
        stream: text stream to write to. Default: None, standard output.

    Example:
        >>> logger = tl.callbacks.LineLogger()
        >>> status = tl.callbacks.TrainingStatus(
        ...     epoch=1, epochs=3, batch=50, steps_per_epoch=50, global_batch=50,
        ...     history=[{"loss": 0.5, "seconds": 0.5}], metrics=dict, state=lambda: None)
        >>> logger.on_epoch_end(status)
        epoch 1/3  loss 0.5  100 steps/s
    """

    def __init__(self, stream: TextIO | LoggedLines | None = None) -> None:
        self.stream = stream

    def on_epoch_end(self, status: TrainingStatus) -> None:
        print(_line(status), file=self.stream or sys.stdout, flush=True)


class ProgressBar(Callback):
    """Shows a progress bar with the results of the current epoch, and a line per completed epoch.

    The epoch, the count of batches and the time left are always shown; results that do not fit the
    width of the terminal are left out, the last ones first. The environment variable NO_COLOR
    turns colors off.

    Args:
        console: a `rich.console.Console`. Default: None, a new one on standard output.

    Example:
        >>> bar = tl.callbacks.ProgressBar()
        >>> bar.console.file is not None
        True
    """

    SECONDS_BETWEEN_RESULTS = 0.5

    def __init__(self, console: Any = None) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress

        self.console = console or Console()
        self._bar_width = BAR_WIDTH if self.console.width >= NARROW else BAR_WIDTH // 4
        self.bar = RichProgress(
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(bar_width=self._bar_width),
            MofNCompleteColumn(),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.fields[results]}"),
            console=self.console,
            transient=True,
            redirect_stdout=sys.stdout is not None and sys.stdout.isatty(),
        )
        self.task: Any = None
        self._started = self._shown = 0.0
        self._first_batch = 0

    def on_train_batch_end(self, status: TrainingStatus) -> None:
        now = time.monotonic()
        label = f"{status.epoch}/{status.epochs}"
        if self.task is None:
            self.bar.start()
            self.task = self.bar.add_task("", total=status.steps_per_epoch, epoch=label, results="")
            self._started, self._first_batch = now, status.batch
        self.bar.update(
            self.task, completed=status.batch, total=status.steps_per_epoch, epoch=label
        )
        if now - self._shown > self.SECONDS_BETWEEN_RESULTS:
            steps, seconds = status.batch - self._first_batch, now - self._started
            speed = [_speed(steps, seconds)] if steps > 0 and seconds > 0 else []
            texts = [*_result_texts(status.metrics()), *speed]
            self.bar.update(self.task, results=_fitting(texts, self._room(label, status)))
            self._shown = now

    def _room(self, label: str, status: TrainingStatus) -> int:
        """Return the number of columns that are left for results."""
        steps = status.steps_per_epoch
        count = 2 * len(str(steps)) + 1 if steps is not None else len(f"{status.batch}/?")
        widths = [len(f"epoch {label}"), self._bar_width, count, len("0:00:00")]
        return int(self.console.width) - sum(widths) - len(widths)

    def on_epoch_end(self, status: TrainingStatus) -> None:
        self.console.print(_line(status), highlight=False)
        if self.task is not None and status.epoch < status.epochs:
            self.bar.reset(self.task, epoch=f"{status.epoch + 1}/{status.epochs}", results="")
        self._started, self._first_batch = time.monotonic(), 0

    def on_train_end(self, status: TrainingStatus) -> None:
        self.bar.stop()
        if self.task is not None:
            self.bar.remove_task(self.task)
            self.task = None


def check_verbose(verbose: Any) -> None:
    """Raise `ValueError` unless `verbose` is "auto", 0, 1 or 2."""
    if verbose not in ("auto", 0, 1, 2):
        raise ValueError(f'verbose must be "auto", 0, 1 or 2, got {verbose!r}')


def callbacks_for_verbose(
    verbose: str | int, callbacks: Sequence[Any], chief: bool = True
) -> list[Callback]:
    """Return the callback that displays a run; none for a silent one.

    Args:
        verbose: as for `Trainer.fit`.
        callbacks: callbacks of the user; "auto" adds no display if they include one.
        chief: whether this process displays the run with "auto".
    """
    if verbose == "auto":
        displayed = any(isinstance(callback, (ProgressBar, LineLogger)) for callback in callbacks)
        if displayed or not chief:
            return []
        if "ipykernel" in sys.modules:
            return [LineLogger()]
        return [ProgressBar()] if sys.stdout is not None and sys.stdout.isatty() else []
    if verbose == 0:
        return []
    return [ProgressBar()] if verbose == 1 else [LineLogger()]


def _line(status: TrainingStatus) -> str:
    """Return a completed epoch on one line: its number, its results, its speed."""
    width, results = len(str(status.epochs)), status.results
    speed = _speed(status.batch, results["seconds"])
    return f"epoch {status.epoch:{width}d}/{status.epochs}  {format_results(results)}  {speed}"


def _speed(steps: int, seconds: float) -> str:
    """Return the steps per second, rounded."""
    return f"{steps / max(seconds, 1e-9):,.0f} steps/s"
