"""A lazy array that notes which rows were read."""

from __future__ import annotations

import numpy as np

from trainlib.training.lazy_array import LazyArray


class LazyRows(LazyArray):
    """Rows of an array.

    Args:
        array: the array.
        rows: numbers of the rows. Default: None, all.

    Attributes:
        read_ids: the numbers of the rows that were read, in order.
    """

    def __init__(self, array: np.ndarray, rows: np.ndarray | None = None) -> None:
        self.array = array
        self.rows = np.arange(len(array)) if rows is None else rows
        self.shape, self.dtype = (len(self.rows), *array.shape[1:]), array.dtype
        self.read_ids: list[int] = []

    def read(self, rows: np.ndarray) -> np.ndarray:
        self.read_ids.extend(self.rows[rows].tolist())
        return self.array[self.rows[rows]]

    def select(self, rows: np.ndarray) -> LazyRows:
        return LazyRows(self.array, self.rows[rows])

    @property
    def fingerprint(self) -> bytes:
        return self.rows.tobytes()
