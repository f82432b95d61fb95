"""The history of a run as a file."""

from __future__ import annotations

import json
from pathlib import Path

from trainlib.callbacks.base import Callback, Facts
from trainlib.files import write_text


class JsonLines(Callback):
    """Keeps the history in the file `path`, a JSON object a line for each epoch.

    It begins anew with each run; of one that is resumed it keeps the epochs up to there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_start(self, facts: Facts) -> None:
        write_text(self.path, "".join(json.dumps(results) + "\n" for results in facts.history))

    def on_epoch(self, facts: Facts) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(facts.results) + "\n")
