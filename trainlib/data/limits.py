"""Limits on the size of decompressed files, so that a small file cannot fill the memory."""

from __future__ import annotations

import gzip
import io
import os
from pathlib import Path
from typing import Any

from trainlib.training.memory import free_memory
from trainlib.training.paths import shown

VARIABLE = "TRAINLIB_MAX_DATA_GIB"
"""Environment variable with the largest size of a decompressed file, in GiB."""
RATIO = 100
"""Largest ratio of decompressed to compressed size, unless the variable is set."""
SMALL = 2**29
"""Decompressed size in bytes that is allowed at any ratio."""
_LARGEST_RATIO = 1100
"""A ratio that no file of the format can reach."""
_BUFFER = 2**18


def largest_size(path: Path) -> int:
    """Return the largest decompressed size of a file in bytes.

    It is the value of `VARIABLE`; or `RATIO` times the size of the file, but at least `SMALL` and
    at most the free memory.

    Raises:
        ValueError: the variable is not a number above 0.
    """
    text = os.environ.get(VARIABLE, "")
    if text:
        try:
            gigabytes = float(text)
        except ValueError:
            gigabytes = 0.0
        if not 0 < gigabytes < float("inf"):
            raise ValueError(f"{VARIABLE} must be a number above 0, got {text!r}")
        return int(gigabytes * 2**30)
    allowed = max(SMALL, RATIO * path.stat().st_size)
    free = free_memory()
    return allowed if free is None else min(allowed, free)


def check_size(path: Path, size: int) -> None:
    """Raise `ValueError` if the decompressed size of a file exceeds its limit."""
    limit = largest_size(path)
    if size > limit:
        raise too_large(path, limit)


def too_large(path: Path, limit: int) -> ValueError:
    """Return the error for a file whose decompressed size exceeds a limit in bytes."""
    size = path.stat().st_size
    return ValueError(
        f"{shown(path)} has {size:,} bytes but holds more than {limit:,}, as no data do, or more "
        f"than fits into memory: if you trust it, set {VARIABLE}, the GiB that it may hold"
    )


def open_packed(path: Path) -> io.BufferedReader:
    """Open a gzip file whose stream raises `ValueError` when the limit of its size is exceeded.

    Raises:
        ValueError: the size in the file's trailer exceeds the limit.
    """
    with path.open("rb") as stream:
        stream.seek(max(0, path.stat().st_size - 4))
        size = int.from_bytes(stream.read(4), "little")  # modulo 2^32; of a damaged file, any
    if size < _LARGEST_RATIO * path.stat().st_size:
        check_size(path, size)
    return io.BufferedReader(_LimitedReader(path), _BUFFER)


class _LimitedReader(io.RawIOBase):
    """A stream of decompressed bytes that raises an error when a limit is exceeded.

    Args:
        path: the gzip file.
    """

    def __init__(self, path: Path) -> None:
        self._stream, self._path = gzip.open(path, "rb"), path
        self._left = self._limit = largest_size(path)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """Read into a buffer, and return the number of bytes.

        Raises:
            ValueError: the decompressed size exceeds its limit.
        """
        content = self._stream.read(len(buffer))
        self._left -= len(content)
        if self._left < 0:
            raise too_large(self._path, self._limit)
        buffer[: len(content)] = content
        return len(content)

    def close(self) -> None:
        self._stream.close()
        super().close()
