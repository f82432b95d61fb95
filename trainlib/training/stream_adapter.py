"""`StreamAdapter`: batches from data sets, other iterables, and functions that return one."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator
from typing import Any, TypeAlias

import numpy as np
import tensorflow as tf

from trainlib.core.types import Tree
from trainlib.training.array_tensors import aligned_empty, owning_tensor
from trainlib.training.batches import Reader, read_pair
from trainlib.training.chunks import (
    CHUNK_BYTES,
    Chunk,
    as_numbers,
    length_of,
    map_tree,
    power_below,
    prefetch,
)
from trainlib.training.sources import WHOLE, EpochLength, Source

STREAMED_BATCHES = 64
"""Largest number of batches of a stream that make a chunk."""
MAX_WAIT = 0.25
"""Seconds that a chunk waits for a stream's next batch."""
MAX_SIZES = 128
"""Largest number of different batch sizes in a stream: each is compiled separately."""
_END: Any = object()
"""What follows the last batch of a source. None would be a batch that a source has by mistake."""
Shapes: TypeAlias = tuple[tuple[tuple[int, ...], Any], ...]
"""The shape and dtype of each array of a batch."""


class StreamAdapter:
    """Batches from a `tf.data.Dataset`, another iterable, or a function that returns one.

    An epoch has all batches that the source yields until it ends, or the given number of them. In
    training with a number, the next epoch continues after the last batch, and a source that has
    ended is read again. Batches may differ in their shapes; successive ones of one shape make a
    chunk.

    Args:
        name: name of the argument, for error messages.
        data: source of batches, as `Source` takes it.
        length: number of batches in an epoch. Default: all.
        read: function that reads a batch as a tuple. Default: `read_pair`, which takes (x, y) or
            (x, y, sample_weight).
        max_wait: longest time in seconds for which a chunk waits for the next batch. Default: 0.25.
        chunk_bytes: approximate size of a chunk in bytes. Default: 2^23.
        identity: text that identifies the source; a resumed run compares it.

    Raises:
        TypeError: the source is neither iterable nor a function, or a batch is malformed.
        ValueError: it yields no batch, fewer than `length`, or batches of too many sizes; or it
            never ends, and the number of batches is not given.
    """

    def __init__(
        self,
        name: str,
        data: Any,
        length: EpochLength = WHOLE,
        *,
        read: Reader = read_pair,
        max_wait: float = MAX_WAIT,
        chunk_bytes: int = CHUNK_BYTES,
        identity: str = "a source of batches",
    ) -> None:
        self.name, self.length, self.identity = name, length, identity
        self.source = Source(name, data, length)
        self._read, self._max_wait, self._chunk_bytes = read, max_wait, chunk_bytes
        self._open: Iterator[Any] = iter(())
        self._sizes: set[int] = set()
        self._inner: set[Shapes] = set()
        known = self.source.batches()
        if known == 0:
            raise ValueError(
                f"{name} has no batch: it is empty, or has fewer examples than a batch and leaves "
                "out the last one (drop_remainder)"
            )
        if not (length.continues or length.steps is None or known is None):
            self._check_enough(known, length.steps)

    def batches(self) -> int | None:
        """Return the number of batches per epoch, None where it is unknown."""
        return self.source.batches() if self.length.steps is None else self.length.steps

    def training(self, skip: int = 0, epochs: int = 0) -> Iterator[Chunk]:
        """Yield the chunks of an epoch, each prepared while the one before it is in use.

        Args:
            skip: number of batches at the beginning of the epoch to read and leave out. Default: 0.
            epochs: number of earlier epochs that another process has read. Default: 0.
        """
        return prefetch(_mark_last(self._groups(skip, epochs)))

    def evaluation(self, open_rows: bool = False) -> Iterator[Chunk]:
        """Yield the chunks of all batches, or of those of an epoch, which keep their sizes."""
        return self.training()

    def _groups(self, skip: int, epochs: int) -> Iterator[Chunk]:
        """Yield chunks of successive batches of one shape that arrived within a short time."""
        group: _Group | None = None
        shapes: Shapes = ()
        size, began = 1, time.monotonic()
        for position, batch in self._epoch(skip, epochs):
            new = _shapes_of(batch)
            if group and (new != shapes or group.is_full):
                yield self._chunk(group)
                group = None
            if new != shapes:
                self._count(new)
                shapes, size = new, self._per_chunk(batch)
            if group is None:
                began, group = time.monotonic(), _Group(batch, size, position)
            # Copied before the next is read: a source may fill one array again and again.
            group.add(batch)
            if time.monotonic() - began > self._max_wait:
                yield self._chunk(group)
                group = None
        if group:
            yield self._chunk(group)

    def _epoch(self, skip: int, epochs: int) -> Iterator[tuple[int, Tree]]:
        """Yield the positions of first examples, and the batches of an epoch as NumPy arrays."""
        self._leave_out(epochs)
        self.source.begin_epoch()
        has_own_iterator = self.length.steps is None or not self.length.continues
        if has_own_iterator:
            self._open = self.source.open()
        count = position = 0
        while count != self.length.steps and (batch := self._next()) is not _END:
            count += 1
            if count > skip:
                yield position, batch
            position += _rows(batch)
        if has_own_iterator:
            # The end of an old iterator of tf.data may wait for the thread that tunes it.
            self._open = iter(())
        self.source.end_epoch()
        self._check_count(count, skip)

    def _leave_out(self, epochs: int) -> None:
        """Skip the epochs that another process has read."""
        for _ in range(epochs):
            self.source.begin_epoch()
            if self.length.steps is None:
                self.source.leave_out()
            for _ in range(self.length.steps or 0):
                self._next()
            self.source.end_epoch()

    def _next(self) -> Tree:
        """Return the next batch, in training with `steps` the first after the last; or _END."""
        batch = next(self._open, _END)
        if batch is _END and self.length.steps is not None and self.length.continues:
            self._open = self.source.open()
            batch = next(self._open, _END)
        return _END if batch is _END else self._checked(batch)

    def _check_count(self, count: int, skip: int) -> None:
        """Raise if an epoch had fewer batches than `length`; warn if its length was wrong.

        Args:
            count: number of batches of the epoch.
            skip: number of batches that were trained on before the run was resumed.
        """
        known = self.source.batches()
        if self.length.steps is not None:
            self._check_enough(count, self.length.steps)
        elif count == 0:
            raise ValueError(
                f"{self.name} yielded no batch: for more than one epoch give a function that "
                "returns a new iterator, not the iterator itself"
            )
        elif count < skip:
            raise ValueError(
                f"{self.name} yielded {count} batches, but the run was interrupted after {skip} of "
                "the epoch: resume it with the same data"
            )
        elif known is not None and count != known:
            warnings.warn(
                f"{self.name} yielded {count} batches in an epoch, but its length is {known}: "
                "correct its __len__",
                stacklevel=2,
            )

    def _check_enough(self, count: int, steps: int) -> None:
        """Raise `ValueError` if the source has fewer batches than `length`."""
        if count < steps:
            raise ValueError(
                f"{self.name} ended after {count} of {self.length.argument}={steps} batches: ask "
                "for fewer, or give a function that returns a new iterator"
            )

    def _checked(self, batch: Any) -> Tree:
        """Return a batch as NumPy arrays, and raise unless it is well formed."""
        name = f"a batch of {self.name}"
        checked = map_tree(lambda a: np.asarray(as_numbers(name, a, True)), self._read(name, batch))
        try:
            length_of(name, checked)
        except ValueError as error:
            hint = "if the source yields single examples, batch them, as in dataset.batch(32)"
            raise ValueError(f"{error}; {hint}") from None
        return checked

    def _count(self, shapes: Shapes) -> None:
        """Count the sizes of batches and their inner shapes, and raise at too many sizes."""
        self._sizes.add(shapes[0][0][0])
        self._inner.add(tuple((shape[1:], dtype) for shape, dtype in shapes))
        if len(self._sizes) > MAX_SIZES:
            raise ValueError(
                f"{self.name} have batches of more than {MAX_SIZES} numbers of examples, each of "
                "which is compiled: make batches of one size, as dataset.unbatch().batch(32) does"
            )

    def _chunk(self, group: _Group) -> Chunk:
        """Return batches of one shape as a chunk, padded with the last example.

        A batch between others of other shapes is not padded.
        """
        is_padded = group.count > 1 or len(self._inner) == 1
        examples = group.examples(is_padded)
        stop, end = group.count * group.rows, len(tf.nest.flatten(examples)[0])
        return Chunk(examples, group.rows, stop, False, ids=np.arange(end) + group.first)

    def _per_chunk(self, batch: Tree) -> int:
        """Return how many batches like this one make a chunk."""
        fit = self._chunk_bytes // max(1, sum(a.nbytes for a in tf.nest.flatten(batch)))
        return power_below(max(1, min(fit, STREAMED_BATCHES)))


class _Group:
    """Successive batches of one shape, copied into the arrays of a chunk.

    Args:
        batch: the first batch.
        size: number of batches of a full chunk.
        first: position of its first example in the epoch.

    Attributes:
        rows: examples of a batch.
        count: number of batches.
        first: as above.
    """

    def __init__(self, batch: Tree, size: int, first: int) -> None:
        self.rows, self.count, self.first = _rows(batch), 0, first
        rows = size * self.rows
        self._arrays = map_tree(lambda a: aligned_empty((rows, *a.shape[1:]), a.dtype), batch)

    @property
    def is_full(self) -> bool:
        """Whether there is no place for another batch."""
        return self.count * self.rows == _rows(self._arrays)

    def add(self, batch: Tree) -> None:
        """Copy a batch."""
        start = self.count * self.rows
        pairs = zip(tf.nest.flatten(self._arrays), tf.nest.flatten(batch), strict=True)
        for array, new in pairs:
            array[start : start + self.rows] = new
        self.count += 1

    def examples(self, is_padded: bool) -> Tree:
        """Return the examples as tensors; nothing can be added afterwards.

        Args:
            is_padded: whether the last example fills up what a full chunk has more.
        """
        stop = self.count * self.rows

        def tensor(array: np.ndarray) -> tf.Tensor:
            if not is_padded:
                return owning_tensor(array[:stop])
            array[stop:] = array[stop - 1]
            return owning_tensor(array)

        return map_tree(tensor, self._arrays)


def _mark_last(chunks: Iterator[Chunk]) -> Iterator[Chunk]:
    """Yield the chunks with `last` set on the last of them."""
    held = next(chunks, None)
    while held is not None:
        following = next(chunks, None)
        yield held._replace(last=following is None)
        held = following


def _shapes_of(batch: Tree) -> Shapes:
    """Return the shape and dtype of each array of a batch."""
    return tuple((a.shape, a.dtype) for a in tf.nest.flatten(batch))


def _rows(batch: Tree) -> int:
    """Return the number of examples of a batch."""
    return len(tf.nest.flatten(batch)[0])
