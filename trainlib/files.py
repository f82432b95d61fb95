"""Files that are written whole or not at all."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path


def write_whole(path: Path, write: Callable[[Path], None]) -> None:
    """Writes a file whole or not at all: beside its place, which it then takes.

    Args:
        path: of the file. Where writing fails, what was there stays, and nothing is beside it.
        write: writes a file at the path that it is given, of the same folder and suffix.
    """
    aside = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        write(aside)
        os.replace(aside, path)
    except BaseException:
        with contextlib.suppress(OSError):
            aside.unlink()
        raise


def write_text(path: Path, text: str) -> None:
    """Writes a text in UTF-8, whole or not at all."""

    def write(aside: Path) -> None:
        aside.write_text(text, encoding="utf-8")

    write_whole(path, write)
