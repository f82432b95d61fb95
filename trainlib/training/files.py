"""Files that are written whole or not at all, and JSON that every reader takes."""

from __future__ import annotations

import contextlib
import json
import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any


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


def as_json(content: Any, indent: int | None = None) -> str:
    """JSON, with null for the numbers that it has no words for: NaN and the infinities.

    Python would write these as NaN and Infinity, which no strict reader takes.
    """
    return json.dumps(_with_null(content), indent=indent, allow_nan=False)


def _with_null(content: Any) -> Any:
    if isinstance(content, float):
        return content if math.isfinite(content) else None
    if isinstance(content, Mapping):
        return {key: _with_null(x) for key, x in content.items()}
    if isinstance(content, (list, tuple)):
        return [_with_null(x) for x in content]
    return content
