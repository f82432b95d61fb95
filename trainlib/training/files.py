"""Files that are written atomically, and JSON that every reader accepts."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import math
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from trainlib.training.paths import existing_part, shown

_TEMPORARY = re.compile(r"\..+\.\d+\.\w+")
"""Names that `write_atomically` writes to."""


def write_atomically(path: Path, write: Callable[[Path], None]) -> None:
    """Write a file, or a new folder, under a temporary name in the same folder, then rename it.

    Args:
        path: path of the file or folder. If writing fails, an existing file is unchanged and the
            temporary one is removed.
        write: function that writes to the temporary path that it receives, which has the same
            folder and suffix.
    """
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        write(temporary)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            shutil.rmtree(temporary) if temporary.is_dir() else temporary.unlink()
        raise


def remove_temporary(folder: Path) -> None:
    """Remove temporary files of a killed process; no other process may be writing to the folder."""
    for path in folder.glob(".*.*"):
        if _TEMPORARY.fullmatch(path.name):
            with contextlib.suppress(OSError):
                path.unlink()


def write_text(path: Path, text: str) -> None:
    """Write a text in UTF-8, atomically; names of files keep bytes that are not UTF-8."""

    def write(temporary: Path) -> None:
        temporary.write_text(text, encoding="utf-8", errors="surrogateescape")

    write_atomically(path, write)


def check_can_write(name: str, path: Path, *, in_new_folder: bool = False) -> None:
    """Raise unless a file can be written into the folder of a path.

    Args:
        name: name of the argument, for the message.
        path: the file that is to be written later.
        in_new_folder: whether the folder may be missing, because it is made later. Default: False.

    Raises:
        ValueError: there is no such folder, a file is in its place, or it cannot be written to.
    """
    folder = path.absolute().parent
    folder = existing_part(folder) if in_new_folder else folder
    if in_new_folder and not folder.is_dir():
        raise ValueError(f"{name}: {shown(folder)} is a file, not a folder")
    if not folder.is_dir():
        raise ValueError(f"{name} {shown(path)}: there is no folder {shown(path.parent)}")
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ValueError(f"{name} {shown(path)}: cannot be written: {error.strerror}") from error


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
