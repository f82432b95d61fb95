"""The history of a run as a file."""

from __future__ import annotations

import json
from pathlib import Path

from trainlib.callbacks.base import Callback, Progress, Results


class JsonLines(Callback):
    """Appends a JSON object a line to `path` after each epoch."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_epoch(self, progress: Progress, results: Results) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(results) + "\n")
