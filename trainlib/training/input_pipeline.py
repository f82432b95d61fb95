"""Where batches come from: arrays on the device, arrays left on the host, streams of batches.

All are handed to the loop as chunks: some batches one after another in tensors of one shape, which
the device then goes through alone.
"""

from __future__ import annotations

import functools
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import tensorflow as tf

from trainlib.core.checks import check_integer
from trainlib.core.types import Tree

BATCH_SIZE = 32
"""Of training, where none is given."""
PLACED_BYTES = 2**31
"""Arrays of up to so many bytes are placed on the device; larger ones go there chunk by chunk."""
CHUNK_BYTES = 2**24
"""Of a chunk, about: what a processor's cache holds, so that its batches are read from there."""
STREAMED_BATCHES = 64
"""Batches of a stream that make a chunk, at most."""
STREAMED_SECONDS = 0.25
"""How long a chunk waits for a stream's next batch to come."""


class Chunk(NamedTuple):
    """Batches, one after another.

    examples: a structure of tensors [n, ...]. rows: of a batch. stop: how many of the n, from the
    first on, are meant; in training whole batches of them. last: whether it ends the epoch. start:
    the first that is meant, where an epoch is gone on with.
    """

    examples: Tree
    rows: int
    stop: int
    last: bool
    start: int = 0


class Arrays:
    """Examples in arrays of one length: placed on the device once, unless they are large.

    Args:
        name: of the argument, for errors.
        data: a structure of arrays.
        batch_size: at least 1.

    Raises:
        TypeError: an array is not of numbers.
        ValueError: the arrays are empty, or of several lengths.
    """

    def __init__(self, name: str, data: Tree, batch_size: int) -> None:
        check_integer("batch_size", batch_size, at_least=1)
        self.batch_size = batch_size
        leaves = tf.nest.flatten(data)
        large = sum(a.nbytes for a in leaves if isinstance(a, np.ndarray))
        self.on_host = large > PLACED_BYTES or any(isinstance(a, np.memmap) for a in leaves)
        self.examples = _map(lambda a: _checked(name, a, self.on_host), data)
        self.specs = specs_of(self.examples)
        self.size = _size_of(name, self.examples)

    def batches(self) -> int:
        """The batches of an epoch, the last of which may be smaller."""
        return -(-self.size // self.batch_size)

    def training(self, order: np.ndarray | None = None, begun: int = 0) -> Iterator[Chunk]:
        """An epoch in that order; a rest that makes no whole batch is a batch of its own.

        Placed examples in the order in which they lie are one chunk, and are not copied.

        Args:
            order: of the examples; None for that in which they lie.
            begun: batches of the epoch that are left out, having been trained on.
        """
        rest = self.size % self.batch_size
        whole = self.size - rest
        start = begun * self.batch_size
        if start < whole and order is None and not self.on_host:
            yield Chunk(self.examples, self.batch_size, whole, not rest, start)
        else:
            yield from self._chunks(order, whole, not rest, start)
        if rest and start <= whole:
            yield Chunk(self._take(order, whole, self.size, rest), rest, rest, True)

    def evaluation(self) -> Iterator[Chunk]:
        """The examples as they lie; a last batch that is not full counts as far as it goes."""
        return self._chunks(None, self.size, True)

    @functools.cached_property
    def fingerprint(self) -> str:
        """A short text that other examples, or others' order, would not have."""
        total = 0
        for array in tf.nest.flatten(self.examples):
            total = zlib.crc32(np.ascontiguousarray(np.asarray(array)).view(np.uint8).data, total)
        return f"{self.size} examples, crc32 {total:08x}"

    def _chunks(
        self, order: np.ndarray | None, end: int, last: bool, begin: int = 0
    ) -> Iterator[Chunk]:
        """The examples up to `end`, in chunks that lie as if all were meant."""
        room = self.batch_size * self._together()

        def chunk(start: int) -> Chunk:
            stop = min(start + room, end)
            examples = self._take(order, start, stop, room)
            ends, first = last and stop == end, max(begin - start, 0)
            return Chunk(examples, self.batch_size, stop - start, ends, first)

        starts = range(begin - begin % room, end, room) if begin < end else ()
        return ahead(map(chunk, starts)) if len(starts) > 1 else map(chunk, starts)

    def _together(self) -> int:
        """The batches of a chunk: a power of two, so that few shapes are ever compiled."""
        row = sum(int(np.prod(s.shape[1:])) * s.dtype.size for s in tf.nest.flatten(self.specs))
        fit = max(1, CHUNK_BYTES // max(1, self.batch_size * row))
        return min(_power_below(fit), _power_above(self.batches()))

    def _take(self, order: np.ndarray | None, start: int, stop: int, room: int) -> Tree:
        """The examples at places start..stop of the order, filled up with the last to `room`."""
        if order is None and stop - start == room:
            return _map(lambda a: tf.convert_to_tensor(a[start:stop]), self.examples)
        places = np.minimum(np.arange(start, start + room), stop - 1)
        rows = places if order is None else order[places]
        if self.on_host:
            return _map(lambda a: tf.convert_to_tensor(np.take(a, rows, axis=0)), self.examples)
        return _map(lambda a: tf.gather(a, rows), self.examples)


class Stream:
    """Batches from a `tf.data.Dataset`, another iterable, or a function that returns one.

    An epoch is what it yields until it ends; or so many batches, and the next epoch goes on behind
    them, from the beginning again where the stream has ended.

    Args:
        name: of the argument, for errors.
        data: each batch (x, y) or (x, y, sample_weight) of arrays.
        steps: the batches of an epoch; None: all.

    Raises:
        TypeError: it is neither iterable nor a function; or a batch is none.
        ValueError: it yields no batch.
    """

    def __init__(self, name: str, data: Any, steps: int | None = None) -> None:
        if not (callable(data) or isinstance(data, Iterable)):
            raise TypeError(
                f"{name} must be arrays (x, y) or (x, y, sample_weight), a tf.data.Dataset of "
                f"batches, another iterable of them, or a function that returns one, got {data!r}"
            )
        if steps is not None:
            check_integer("steps_per_epoch", steps, at_least=1)
        self.name, self.data, self.steps = name, data, steps
        self._open: Iterator[Any] = iter(())

    def batches(self) -> int | None:
        """The batches of an epoch, None where that is not known."""
        if self.steps is not None:
            return self.steps
        if isinstance(self.data, tf.data.Dataset):
            count = int(self.data.cardinality())
            return count if count > 0 else None
        return len(self.data) if hasattr(self.data, "__len__") else None

    def training(self, begun: int = 0, before: int = 0) -> Iterator[Chunk]:
        """An epoch: batches of one size together, made while the chunk before is used.

        Args:
            begun: batches of the epoch that are read and left out, having been trained on.
            before: where epochs go on one behind the other, the same of those before this one.
        """
        return ahead(_marked(self._groups(begun, before)))

    def evaluation(self) -> Iterator[Chunk]:
        """All the batches, or those of an epoch."""
        return self.training()

    def _groups(self, begun: int, before: int) -> Iterator[Chunk]:
        """Batches of one size that came within a short time."""
        group: list[Tree] = []
        began = time.monotonic()
        for batch in self._epoch(begun, before):
            full = group and len(group) == _streamed_together(group[0])
            if full or (group and _rows(batch) != _rows(group[0])):
                yield _joined(group)
                group = []
            if not group:
                began = time.monotonic()
            group.append(batch)
            if time.monotonic() - began > STREAMED_SECONDS:
                yield _joined(group)
                group = []
        if group:
            yield _joined(group)

    def _epoch(self, begun: int, before: int) -> Iterator[Tree]:
        """The batches of an epoch, as NumPy arrays."""
        if self.steps is None:
            self._open = self._begun()
        else:
            for _ in range(before):
                self._next()
        count = 0
        while count != self.steps and (batch := self._next()) is not None:
            count += 1
            if count > begun:
                yield batch
        if count == 0:
            raise ValueError(
                f"{self.name} yielded no batch: for more than one epoch give a function that "
                "returns a new iterator, not the iterator itself"
            )

    def _next(self) -> Tree:
        """The next batch; with steps, the first again behind the last. None where there is none."""
        batch = next(self._open, None)
        if batch is None and self.steps is not None:
            self._open = self._begun()
            batch = next(self._open, None)
        return batch

    def _begun(self) -> Iterator[Tree]:
        data = self.data() if callable(self.data) else self.data
        if isinstance(data, tf.data.Dataset):
            data = data.prefetch(tf.data.AUTOTUNE).as_numpy_iterator()
        return (self._checked(batch) for batch in data)

    def _checked(self, batch: Any) -> Tree:
        name = f"a batch of {self.name}"
        checked = _map(lambda a: np.asarray(_checked(name, a, True)), check_pairs(name, batch))
        _size_of(name, checked)
        return checked


Feed: TypeAlias = Arrays | Stream
Data: TypeAlias = Any
"""What `as_feed` takes."""


def as_feed(
    name: str,
    data: Data,
    batch_size: int | None = None,
    *,
    default: int = BATCH_SIZE,
    steps: int | None = None,
) -> Feed:
    """Pairs or triples of arrays as `Arrays`, other sources as a `Stream`; a feed as it is.

    Args:
        name: of the argument, for errors.
        data: a feed, a tuple of arrays, or what `Stream` takes.
        batch_size: for arrays alone.
        default: the batch size of arrays where none is given.
        steps: the batches of an epoch, for streams alone.

    Raises:
        TypeError, ValueError: data of another kind, or an argument that is not for their kind.
    """
    if isinstance(data, (Arrays, Stream)):
        return data
    if not isinstance(data, (tuple, np.ndarray, tf.Tensor)):
        if batch_size is not None:
            raise ValueError(f"{name} are batches already: leave batch_size to them")
        return Stream(name, data, steps)
    if steps is not None:
        raise ValueError(f"steps_per_epoch is for sources of batches, but {name} are arrays")
    return Arrays(name, check_pairs(name, data), default if batch_size is None else batch_size)


def check_pairs(name: str, data: Any) -> tuple[Any, ...]:
    """Raises unless they are (x, y) or (x, y, sample_weight)."""
    if not isinstance(data, tuple) or len(data) not in (2, 3):
        got = f"a tuple of {len(data)}" if isinstance(data, tuple) else type(data).__name__
        raise TypeError(f"{name} must be (x, y) or (x, y, sample_weight), got {got}")
    return data


def specs_of(examples: Tree) -> Tree:
    """The tensors' specs, the number of examples left open."""
    return _map(
        lambda a: tf.TensorSpec([None, *a.shape[1:]], tf.dtypes.as_dtype(a.dtype)), examples
    )


def ahead(chunks: Iterator[Chunk]) -> Iterator[Chunk]:
    """The same, each made in a thread while the one before is used."""
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(next, chunks, None)
        while (chunk := coming.result()) is not None:
            coming = pool.submit(next, chunks, None)
            yield chunk


def _marked(chunks: Iterator[Chunk]) -> Iterator[Chunk]:
    """The same, the last of them marked."""
    held = next(chunks, None)
    while held is not None:
        following = next(chunks, None)
        yield held._replace(last=following is None)
        held = following


def _joined(group: list[Tree]) -> Chunk:
    """Batches of one size as a chunk, filled up with the last example."""
    rows = _rows(group[0])
    lacking = rows * (_streamed_together(group[0]) - len(group))

    def join(*parts: np.ndarray) -> Any:
        fill = np.repeat(parts[-1][-1:], lacking, axis=0)
        return tf.convert_to_tensor(np.concatenate([*parts, fill]))

    return Chunk(tf.nest.map_structure(join, *group), rows, rows * len(group), False)


def _streamed_together(batch: Tree) -> int:
    """The batches like this that make a chunk of a stream."""
    fit = CHUNK_BYTES // max(1, sum(a.nbytes for a in tf.nest.flatten(batch)))
    return _power_below(max(1, min(fit, STREAMED_BATCHES)))


def _size_of(name: str, examples: Tree) -> int:
    """The number of examples that all the arrays have."""
    sizes = {int(a.shape[0]) if len(a.shape) else 0 for a in tf.nest.flatten(examples)}
    if len(sizes) != 1 or sizes == {0}:
        raise ValueError(
            f"{name} must be arrays of one length above 0, got lengths {sorted(sizes)}"
        )
    return sizes.pop()


def _checked(name: str, array: Any, on_host: bool) -> Any:
    """An array of numbers, as a tensor where it is not to stay on the host."""
    try:
        checked = np.asanyarray(array) if on_host else tf.convert_to_tensor(array)
        dtype = tf.dtypes.as_dtype(checked.dtype)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name} must be arrays of numbers: {error}") from None
    if dtype in (tf.string, tf.resource, tf.variant):
        raise TypeError(f"{name} must be arrays of numbers, got one of strings")
    return checked


def _map(function: Callable[[Any], Any], tree: Tree) -> Tree:
    return tf.nest.map_structure(function, tree)


def _rows(batch: Tree) -> int:
    return len(tf.nest.flatten(batch)[0])


def _power_below(x: int) -> int:
    return int(2 ** (x.bit_length() - 1))


def _power_above(x: int) -> int:
    return int(2 ** max(x - 1, 0).bit_length())
