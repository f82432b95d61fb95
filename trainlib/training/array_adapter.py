"""`ArrayAdapter`: batches from arrays on the device, or from arrays left on the host."""

from __future__ import annotations

import functools
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from trainlib.core.checks import check_integer
from trainlib.core.types import Tree
from trainlib.training.array_tensors import as_tensor, take_rows
from trainlib.training.chunks import (
    CHUNK_BYTES,
    Chunk,
    as_numbers,
    length_of,
    map_tree,
    power_above,
    power_below,
    prefetch,
    specs_of,
)
from trainlib.training.lazy_array import LazyArray

PLACED_BYTES = 2**31
"""Arrays up to this size are placed on the device; larger ones are copied there chunk by chunk."""


class ArrayAdapter:
    """Examples in arrays of one length: placed on the device once, unless they are large.

    Args:
        name: name of the argument, for error messages.
        data: structure of arrays [N, ...] with the same N.
        batch_size: examples per batch, at least 1.
        placed_bytes: total size in bytes up to which arrays are placed on the device. Default:
            2^31.
        chunk_bytes: approximate size of a chunk in bytes. Default: `CHUNK_BYTES`.

    Raises:
        TypeError: an array does not hold numbers.
        ValueError: the arrays are empty, or of different lengths.
    """

    def __init__(
        self,
        name: str,
        data: Tree,
        batch_size: int,
        *,
        placed_bytes: int = PLACED_BYTES,
        chunk_bytes: int = CHUNK_BYTES,
    ) -> None:
        check_integer("batch_size", batch_size, at_least=1)
        self.batch_size, self._chunk_bytes = batch_size, chunk_bytes
        leaves = tf.nest.flatten(data)
        large = sum(a.nbytes for a in leaves if isinstance(a, np.ndarray))
        on_disk = any(isinstance(a, (np.memmap, LazyArray)) for a in leaves)
        self.on_host = large > placed_bytes or on_disk
        self.examples = map_tree(lambda a: as_numbers(name, a, self.on_host), data)
        self.specs = specs_of(self.examples)
        self.size = length_of(name, self.examples)

    def batches(self) -> int:
        """Return the number of batches per epoch, the last of which may be smaller."""
        return -(-self.size // self.batch_size)

    def training(self, order: np.ndarray | None = None, skip: int = 0) -> Iterator[Chunk]:
        """Yield the chunks of an epoch; the remainder makes a smaller last batch.

        Placed examples in their stored order are one chunk and are not copied.

        Args:
            order: indices of the examples in the order of training, int64 [N]. Default: None,
                their stored order.
            skip: number of batches at the beginning of the epoch to leave out. Default: 0.
        """
        remainder = self.size % self.batch_size
        full = self.size - remainder
        start = skip * self.batch_size
        as_placed = order is None and not self.on_host
        if start < full and as_placed:
            ids = np.arange(self.size)
            yield Chunk(self.examples, self.batch_size, full, not remainder, start, ids)
        else:
            yield from self._chunks(order, full, not remainder, start)
        if remainder and start <= full:
            yield self._last_batch if as_placed else self._remainder(order)

    def evaluation(self, open_rows: bool = False) -> Iterator[Chunk]:
        """Yield the chunks of the examples in their stored order.

        Args:
            open_rows: whether the last batch of a chunk may be smaller. Examples on the device are
                then one chunk. Default: False.
        """
        if open_rows and not self.on_host:
            return iter([Chunk(self.examples, self.batch_size, self.size, True)])
        return self.training()

    @functools.cached_property
    def _last_batch(self) -> Chunk:
        """The smaller last batch in the stored order: one copy for all epochs."""
        return self._remainder(None)

    def _remainder(self, order: np.ndarray | None) -> Chunk:
        """Return the smaller last batch of an epoch."""
        rows = self.size % self.batch_size
        ids = self._ids(order, self.size - rows, self.size, rows)
        return Chunk(self.take(ids), rows, rows, True, ids=ids)

    @functools.cached_property
    def fingerprint(self) -> str:
        """Text that identifies the examples and their order."""
        total = 0
        for array in tf.nest.flatten(self.examples):
            total = zlib.crc32(_content(array), total)
        return f"{self.size} examples, crc32 {total:08x}"

    def _chunks(
        self, order: np.ndarray | None, end: int, last: bool, begin: int = 0
    ) -> Iterator[Chunk]:
        """Yield the examples `begin` to `end`, in the chunks of an epoch that begins at 0."""
        size = self.batch_size * self._batches_per_chunk()

        def chunk(start: int) -> Chunk:
            stop = min(start + size, end)
            ids = self._ids(order, start, stop, size)
            in_order = order is None and stop - start == size
            examples = self._slice(start, stop) if in_order else self.take(ids)
            ends, first = last and stop == end, max(begin - start, 0)
            return Chunk(examples, self.batch_size, stop - start, ends, first, ids)

        starts = range(begin - begin % size, end, size) if begin < end else ()
        return prefetch(map(chunk, starts)) if len(starts) > 1 else map(chunk, starts)

    @property
    def nbytes(self) -> int:
        """Bytes of all examples."""
        return self.size * self._row_bytes()

    def _row_bytes(self) -> int:
        """Return the bytes of an example."""
        return sum(int(np.prod(s.shape[1:])) * s.dtype.size for s in tf.nest.flatten(self.specs))

    def _batches_per_chunk(self) -> int:
        """Return a power of two, so that few shapes are ever compiled."""
        fit = max(1, self._chunk_bytes // max(1, self.batch_size * self._row_bytes()))
        return min(power_below(fit), power_above(self.batches()))

    def take(self, ids: np.ndarray) -> Tree:
        """Return the examples of some indices."""
        if self.on_host:
            return map_tree(lambda a: _rows(a, ids), self.examples)
        rows = tf.constant(ids)
        return map_tree(
            lambda a: tf.raw_ops.GatherV2(params=a, indices=rows, axis=0), self.examples
        )

    def _slice(self, start: int, stop: int) -> Tree:
        """Return the examples start..stop in their stored order."""
        return map_tree(lambda a: _slice(a, start, stop), self.examples)

    def _ids(self, order: np.ndarray | None, start: int, stop: int, size: int) -> np.ndarray:
        """Return the examples start..stop of the order, padded with the last one to `size`."""
        positions = np.minimum(np.arange(start, start + size), stop - 1)
        return positions if order is None else order[positions]


def _rows(array: Any, rows: np.ndarray) -> tf.Tensor:
    """Return rows of an array on the host.

    Those of a lazy array are read once each, in their stored order: a chunk is filled up with its
    last example, and a disk reads faster in order.
    """
    if isinstance(array, LazyArray):
        rows, places = np.unique(rows, return_inverse=True)
        array, rows = array.read(rows), places
    return take_rows(array, rows)


def _slice(array: Any, start: int, stop: int) -> tf.Tensor:
    """Return successive rows of an array."""
    if isinstance(array, LazyArray):
        return _rows(array, np.arange(start, stop))
    return as_tensor(array[start:stop])


def _content(array: Any) -> Any:
    """Return bytes that identify the content of an array."""
    if isinstance(array, LazyArray):
        return array.fingerprint
    return np.ascontiguousarray(np.asarray(array)).view(np.uint8).data
