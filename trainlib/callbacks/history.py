"""The history of a run as a file."""

from __future__ import annotations

from pathlib import Path

from trainlib.callbacks.base import Callback, Facts
from trainlib.files import as_json, write_text


class JsonLines(Callback):
    """Keeps the history in the file `path`, a JSON object a line for each epoch.

    A result that is not finite is null there.
    It begins anew with each run; of one that is resumed it keeps the epochs up to there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_start(self, facts: Facts) -> None:
        write_text(self.path, "".join(as_json(results) + "\n" for results in facts.history))

    def on_epoch(self, facts: Facts) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(as_json(facts.results) + "\n")
