"""`KeptRows`: a cache of the rows of a lazy array in a temporary file."""

from __future__ import annotations

import os
import tempfile
import threading
import weakref
from pathlib import Path
from typing import Any

import numpy as np

from trainlib.training.lazy_array import LazyArray


class KeptRows(LazyArray):
    """Lazy array whose rows are computed when they are first read, and cached in a temporary file.

    The file has no name and disappears with the process, however it ends. If the disk is full, the
    rows that do not fit are computed whenever they are read.

    Args:
        source: lazy array that computes the rows.
        folder: folder of the temporary file; made if it is missing.
    """

    def __init__(self, source: LazyArray, folder: Path) -> None:
        self.source, self.folder = source, folder
        self.shape, self.dtype = source.shape, source.dtype
        self._file = _RowFile(self.shape, self.dtype, folder)
        self._rows = np.arange(len(source))

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the array without its file: another process makes a new one."""
        return KeptRows, (self.source.select(self._rows), self.folder)

    @property
    def fingerprint(self) -> bytes:
        """Bytes that identify the rows and their order: those of the source."""
        return self.source.select(self._rows).fingerprint

    def select(self, rows: np.ndarray) -> KeptRows:
        """Return the array of some rows, with the same file."""
        selected: KeptRows = object.__new__(KeptRows)
        vars(selected).update(vars(self))
        selected._rows = self._rows[rows]
        selected.shape = (len(selected._rows), *self.shape[1:])
        return selected

    def read(self, rows: np.ndarray) -> np.ndarray:
        """Return the rows of some indices, [n, ...]."""
        wanted = self._rows[rows]
        missing = wanted[~self._file.holds[wanted]]
        if not len(missing):
            return self._file.read(wanted)
        computed = self.source.read(missing)
        self._file.write(missing, computed)
        found = np.empty((len(wanted), *self.shape[1:]), self.dtype)
        is_missing = np.isin(wanted, missing)
        found[is_missing] = computed
        found[~is_missing] = self._file.read(wanted[~is_missing])
        return found


class _RowFile:
    """A temporary file of rows of one shape.

    Attributes:
        holds: bools [N], True for rows that the file contains.
    """

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype[Any], folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._file = tempfile.TemporaryFile(dir=folder, buffering=0)
        weakref.finalize(self, self._file.close)
        self._array = np.memmap(self._file, dtype, "r+", shape=shape)
        self._row_bytes = self._array[:1].nbytes
        self._lock = threading.Lock()
        self.holds = np.zeros(shape[0], bool)

    def read(self, rows: np.ndarray) -> np.ndarray:
        """Return rows that the file holds."""
        return np.take(self._array, rows, axis=0)

    def write(self, rows: np.ndarray, values: np.ndarray) -> None:
        """Write rows into the file, as many as the disk takes.

        They are written to the file and not to the map: where the disk is full, an assignment to
        the map ends the process.
        """
        for row, value in zip(rows, values, strict=True):
            try:
                with self._lock:
                    os.lseek(self._file.fileno(), int(row) * self._row_bytes, os.SEEK_SET)
                    written = self._file.write(np.ascontiguousarray(value).data)
            except OSError:
                return
            if written != self._row_bytes:
                return
            self.holds[row] = True
