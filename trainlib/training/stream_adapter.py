"""`StreamAdapter`: batches from data sets, other iterables, and functions that return one."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator
from typing import Any, TypeAlias

import numpy as np
import tensorflow as tf

from trainlib.core.types import Tree
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
        chunk_bytes: approximate size of a chunk in bytes. Default: 2^24.
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
        group: list[Tree] = []
        shapes: Shapes = ()
        size, began, first = 1, time.monotonic(), 0
        for position, batch in self._epoch(skip, epochs):
            new = _shapes_of(batch)
            if group and (new != shapes or len(group) == size):
                yield self._join(group, size, first)
                group = []
            if new != shapes:
                self._count(new)
                shapes, size = new, self._per_chunk(batch)
            if not group:
                began, first = time.monotonic(), position
            group.append(batch)
            if time.monotonic() - began > self._max_wait:
                yield self._join(group, size, first)
                group = []
        if group:
            yield self._join(group, size, first)

    def _epoch(self, skip: int, epochs: int) -> Iterator[tuple[int, Tree]]:
        """Yield the positions of first examples, and the batches of an epoch as NumPy arrays."""
        self._leave_out(epochs)
        self.source.begin_epoch()
        has_own_iterator = self.length.steps is None or not self.length.continues
        if has_own_iterator:
            self._open = self.source.open()
        count = position = 0
        while count != self.length.steps and (batch := self._next()) is not None:
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
        """Return the next batch, in training with `steps` the first after the last; or None."""
        batch = next(self._open, None)
        if batch is None and self.length.steps is not None and self.length.continues:
            self._open = self.source.open()
            batch = next(self._open, None)
        return None if batch is None else self._checked(batch)

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

    def _join(self, group: list[Tree], size: int, first: int) -> Chunk:
        """Return batches of one shape as a chunk of `size` batches, padded with the last example.

        A batch between others of other shapes is not padded. `first` is the position of the first
        example in the epoch.
        """
        rows = _rows(group[0])
        missing = 0 if len(group) == 1 and len(self._inner) > 1 else rows * (size - len(group))

        def join(*parts: np.ndarray) -> Any:
            padding = np.repeat(parts[-1][-1:], missing, axis=0)
            return tf.convert_to_tensor(np.concatenate([*parts, padding]))

        examples = tf.nest.map_structure(join, *group)
        stop = rows * len(group)
        return Chunk(examples, rows, stop, False, ids=np.arange(first, first + stop + missing))

    def _per_chunk(self, batch: Tree) -> int:
        """Return how many batches like this one make a chunk."""
        fit = self._chunk_bytes // max(1, sum(a.nbytes for a in tf.nest.flatten(batch)))
        return power_below(max(1, min(fit, STREAMED_BATCHES)))


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
