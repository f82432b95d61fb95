"""Files that are written atomically, and JSON that every reader accepts."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any


def write_atomically(path: Path, write: Callable[[Path], None]) -> None:
    """Write a file under a temporary name in the same folder, then rename it.

    Args:
        path: path of the file. If writing fails, an existing file is unchanged and the temporary
            one is removed.
        write: writes a file at the path that it receives, which has the same folder and suffix.
    """
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        write(temporary)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def write_text(path: Path, text: str) -> None:
    """Write a text in UTF-8, atomically; names of files keep bytes that are not UTF-8."""

    def write(temporary: Path) -> None:
        temporary.write_text(text, encoding="utf-8", errors="surrogateescape")

    write_atomically(path, write)


def read_text(path: Path) -> str:
    """Return a text that `write_text` wrote."""
    return path.read_text(encoding="utf-8", errors="surrogateescape")


def as_csv(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Return a table as CSV, a line for the header and one for each row."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([header, *rows])
    return text.getvalue()


def as_json(content: Any, indent: int | None = None) -> str:
    """Return JSON with null for NaN and the infinities, which JSON cannot express.

    Python would write them as NaN and Infinity, which strict readers reject.
    """
    return json.dumps(_with_null(content), indent=indent, allow_nan=False)


def _with_null(content: Any) -> Any:
    """Return the content with None for floats that are not finite."""
    if isinstance(content, float):
        return content if math.isfinite(content) else None
    if isinstance(content, Mapping):
        return {key: _with_null(x) for key, x in content.items()}
    if isinstance(content, (list, tuple)):
        return [_with_null(x) for x in content]
    return content
