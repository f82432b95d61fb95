"""The history of a run as a file."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from trainlib.training.callback import Callback, Results, TrainingStatus
from trainlib.training.files import as_json, write_text


class JSONLLogger(Callback):
    """Keeps the history in the file `path`, a JSON object a line for each epoch.

    A result that is not finite is null there. It begins anew with each run; of one that is resumed
    it keeps the epochs up to there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_begin(self, status: TrainingStatus) -> None:
        write_text(self.path, "".join(as_json(results) + "\n" for results in status.history))

    def on_epoch_end(self, status: TrainingStatus) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(as_json(status.results) + "\n")


class CSVLogger(Callback):
    """Keeps the history in the file `path` as a table, a row for each epoch.

    Results of several values are left out. It begins anew with each run; of one that is resumed it
    keeps the epochs up to there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._columns: list[str] = []

    def on_train_begin(self, status: TrainingStatus) -> None:
        self._write_all(status.history)

    def on_epoch_end(self, status: TrainingStatus) -> None:
        if set(_columns([status.results])) <= set(self._columns):
            with self.path.open("a", encoding="utf-8", newline="") as file:
                file.write(_rows([status.results], self._columns))
        else:
            self._write_all(status.history)

    def _write_all(self, history: Sequence[Results]) -> None:
        self._columns = _columns(history)
        head = {name: name for name in self._columns}
        write_text(self.path, _rows([head, *history] if head else [], self._columns))


def _columns(history: Sequence[Results]) -> list[str]:
    """The names of the results that are one value, in the order in which they came."""
    names = (
        name for line in history for name, x in line.items() if isinstance(x, (int, float, str))
    )
    return list(dict.fromkeys(names))


def _rows(history: Sequence[Results], columns: Sequence[str]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
    writer.writerows(history)
    return text.getvalue()
