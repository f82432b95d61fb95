"""`CSVLogger` and `JSONLLogger`: the results of each epoch as a file."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Sequence

from trainlib.training.callback import Callback, Results, TrainingStatus
from trainlib.training.files import as_json, write_text
from trainlib.training.paths import absolute


class JSONLLogger(Callback):
    """Writes the history to a file, a JSON object per line and epoch.

    A result that is not finite is written as null. Each run overwrites the file; a resumed run
    keeps the epochs up to its checkpoint. With several workers, only the first one writes.

    Args:
        path: path of the file; its folder is made if it is missing.

    Example:
        >>> logger = tl.callbacks.JSONLLogger("metrics.jsonl")
        >>> status = tl.callbacks.TrainingStatus(
        ...     epoch=1, epochs=3, batch=50, steps_per_epoch=50, global_batch=50,
        ...     history=[{"epoch": 1, "loss": 0.5}], metrics=dict, state=lambda: None)
        >>> logger.on_epoch_end(status)
        >>> logger.path.read_text()
        '{"epoch": 1, "loss": 0.5}\\n'
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = absolute(path)

    def on_train_begin(self, status: TrainingStatus) -> None:
        if status.is_chief:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_text(self.path, "".join(as_json(results) + "\n" for results in status.history))

    def on_epoch_end(self, status: TrainingStatus) -> None:
        if status.is_chief:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(as_json(status.results) + "\n")


class CSVLogger(Callback):
    """Writes the history to a file as a table, a row per epoch.

    Results of several values are left out. Each run overwrites the file; a resumed run keeps the
    epochs up to its checkpoint. With several workers, only the first one writes.

    Args:
        path: path of the file; its folder is made if it is missing.

    Example:
        >>> logger = tl.callbacks.CSVLogger("metrics.csv")
        >>> status = tl.callbacks.TrainingStatus(
        ...     epoch=1, epochs=3, batch=50, steps_per_epoch=50, global_batch=50,
        ...     history=[{"epoch": 1, "loss": 0.5}], metrics=dict, state=lambda: None)
        >>> logger.on_epoch_end(status)
        >>> logger.path.read_text().splitlines()
        ['epoch,loss', '1,0.5']
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = absolute(path)
        self._columns: list[str] = []

    def on_train_begin(self, status: TrainingStatus) -> None:
        if status.is_chief:
            self._write_all(status.history)

    def on_epoch_end(self, status: TrainingStatus) -> None:
        if not status.is_chief:
            return
        if set(_columns([status.results])) <= set(self._columns):
            with self.path.open("a", encoding="utf-8", newline="") as file:
                file.write(_rows([status.results], self._columns))
        else:
            self._write_all(status.history)

    def _write_all(self, history: Sequence[Results]) -> None:
        """Write the whole table."""
        self._columns = _columns(history)
        head = {name: name for name in self._columns}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_text(self.path, _rows([head, *history] if head else [], self._columns))


def _columns(history: Sequence[Results]) -> list[str]:
    """Return the names of the results that are a single value, in the order they appeared."""
    names = (
        name for line in history for name, x in line.items() if isinstance(x, (int, float, str))
    )
    return list(dict.fromkeys(names))


def _rows(history: Sequence[Results], columns: Sequence[str]) -> str:
    """Return the history as CSV rows."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
    writer.writerows(history)
    return text.getvalue()
