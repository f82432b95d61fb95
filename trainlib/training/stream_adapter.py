"""`StreamAdapter`: batches from data sets, other iterables, and functions that return one."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from trainlib.core.checks import check_integer
from trainlib.core.types import Tree
from trainlib.training.chunks import (
    CHUNK_BYTES,
    Chunk,
    as_numbers,
    check_pairs,
    length_of,
    map_tree,
    power_below,
    prefetch,
)

STREAMED_BATCHES = 64
"""Largest number of batches of a stream that make a chunk."""
MAX_WAIT = 0.25
"""Seconds that a chunk waits for a stream's next batch."""


class StreamAdapter:
    """Batches from a `tf.data.Dataset`, another iterable, or a function that returns one.

    An epoch is what the source yields until it ends. With `steps` it is that many batches; the next
    epoch continues after them, from the beginning again once the source has ended.

    Args:
        name: name of the argument, for error messages.
        data: source of batches (x, y) or (x, y, sample_weight) of arrays.
        steps: batches per epoch, at least 1. Default: None, all.
        max_wait: seconds that a chunk waits for the next batch.
        chunk_bytes: approximate size of a chunk.

    Raises:
        TypeError: the source is neither iterable nor a function, or a batch is malformed.
        ValueError: it yields no batch.
    """

    def __init__(
        self,
        name: str,
        data: Any,
        steps: int | None = None,
        *,
        max_wait: float = MAX_WAIT,
        chunk_bytes: int = CHUNK_BYTES,
    ) -> None:
        if not (callable(data) or isinstance(data, Iterable)):
            raise TypeError(
                f"{name} must be arrays (x, y) or (x, y, sample_weight), a tf.data.Dataset of "
                f"batches, another iterable of them, or a function that returns one, got {data!r}"
            )
        if steps is not None:
            check_integer("steps_per_epoch", steps, at_least=1)
        self.name, self.data, self.steps = name, data, steps
        self._max_wait, self._chunk_bytes = max_wait, chunk_bytes
        self._open: Iterator[Any] = iter(())

    def batches(self) -> int | None:
        """Return the number of batches per epoch, None where it is unknown."""
        if self.steps is not None:
            return self.steps
        if isinstance(self.data, tf.data.Dataset):
            count = int(self.data.cardinality())
            return count if count > 0 else None
        return len(self.data) if hasattr(self.data, "__len__") else None

    def training(self, skip: int = 0, earlier: int = 0) -> Iterator[Chunk]:
        """Yield the chunks of an epoch, each prepared while the one before it is in use.

        Args:
            skip: number of batches of the epoch to read and leave out, having been trained on.
            earlier: number of batches of earlier epochs to leave out, where epochs continue.
        """
        return prefetch(_mark_last(self._groups(skip, earlier)))

    def evaluation(self) -> Iterator[Chunk]:
        """Yield the chunks of all batches, or of those of an epoch."""
        return self.training()

    def _groups(self, skip: int, earlier: int) -> Iterator[Chunk]:
        """Yield batches of one size that arrived within a short time."""
        group: list[Tree] = []
        began = time.monotonic()
        for batch in self._epoch(skip, earlier):
            full = group and len(group) == self._per_chunk(group[0])
            if full or (group and _rows(batch) != _rows(group[0])):
                yield self._join(group)
                group = []
            if not group:
                began = time.monotonic()
            group.append(batch)
            if time.monotonic() - began > self._max_wait:
                yield self._join(group)
                group = []
        if group:
            yield self._join(group)

    def _epoch(self, skip: int, earlier: int) -> Iterator[Tree]:
        """Yield the batches of an epoch as NumPy arrays."""
        if self.steps is None:
            self._open = self._restart()
        else:
            for _ in range(earlier):
                self._next()
        count = 0
        while count != self.steps and (batch := self._next()) is not None:
            count += 1
            if count > skip:
                yield batch
        if count == 0:
            raise ValueError(
                f"{self.name} yielded no batch: for more than one epoch give a function that "
                "returns a new iterator, not the iterator itself"
            )

    def _next(self) -> Tree:
        """Return the next batch, with `steps` the first again after the last; None at the end."""
        batch = next(self._open, None)
        if batch is None and self.steps is not None:
            self._open = self._restart()
            batch = next(self._open, None)
        return batch

    def _restart(self) -> Iterator[Tree]:
        """Return a new iterator over the checked batches."""
        data = self.data() if callable(self.data) else self.data
        if isinstance(data, tf.data.Dataset):
            data = data.prefetch(tf.data.AUTOTUNE).as_numpy_iterator()
        return (self._checked(batch) for batch in data)

    def _checked(self, batch: Any) -> Tree:
        """Return a batch as NumPy arrays, and raise unless it is well formed."""
        name = f"a batch of {self.name}"
        checked = map_tree(
            lambda a: np.asarray(as_numbers(name, a, True)), check_pairs(name, batch)
        )
        length_of(name, checked)
        return checked

    def _join(self, group: list[Tree]) -> Chunk:
        """Return batches of one size as a chunk, padded with the last example."""
        rows = _rows(group[0])
        missing = rows * (self._per_chunk(group[0]) - len(group))

        def join(*parts: np.ndarray) -> Any:
            padding = np.repeat(parts[-1][-1:], missing, axis=0)
            return tf.convert_to_tensor(np.concatenate([*parts, padding]))

        return Chunk(tf.nest.map_structure(join, *group), rows, rows * len(group), False)

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


def _rows(batch: Tree) -> int:
    """Return the number of examples of a batch."""
    return len(tf.nest.flatten(batch)[0])
