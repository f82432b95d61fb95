"""`LazyArray`: an array whose rows are read when a batch needs them."""

from __future__ import annotations

import abc
from typing import Any

import numpy as np


class LazyArray(abc.ABC):
    """Array of N rows that are read from a file, or computed, when a batch needs them.

    `Trainer` takes it instead of an array: rows are read in a thread, a chunk ahead.

    Attributes:
        shape: shape of the array, [N, ...].
        dtype: dtype of the array.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @abc.abstractmethod
    def read(self, rows: np.ndarray) -> np.ndarray:
        """Return the rows of some indices, [n, ...]."""

    @abc.abstractmethod
    def select(self, rows: np.ndarray) -> LazyArray:
        """Return the lazy array of some rows, without reading them."""

    @property
    @abc.abstractmethod
    def fingerprint(self) -> bytes:
        """Bytes that identify the numbers and their order."""

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> Any:
        """Read and return one row by an integer; return a lazy array by a slice or indices."""
        rows = np.arange(len(self))[key]
        return self.select(rows) if rows.ndim else self.read(rows[None])[0]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """Read and return all rows."""
        return self.read(np.arange(len(self))).astype(dtype or self.dtype, copy=False)
