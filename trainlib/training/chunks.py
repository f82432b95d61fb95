"""`Chunk`, the unit of data of the training loop, and the checks of its arrays."""

from __future__ import annotations

import functools
import queue
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from trainlib.core.types import Tree
from trainlib.training.array_tensors import as_tensor
from trainlib.training.lazy_array import LazyArray

CHUNK_BYTES = 2**23
"""Approximate size of a chunk in bytes: it fits a CPU's cache."""

PATIENCE = 5.0
"""Seconds to wait for the chunk in the making, where the others are not wanted any more."""


class Chunk(NamedTuple):
    """Successive batches in tensors of one shape.

    Attributes:
        examples: structure of tensors [n, ...].
        rows: examples per batch.
        stop: end of the examples in use, at most n; those after it are padding. In training a
            multiple of `rows`.
        last: whether the chunk ends the epoch.
        start: first example in use; above 0 only where an epoch is resumed.
        ids: id of each example, int64 [n]: its index in arrays, or its position in the epoch of a
            stream.
    """

    examples: Tree
    rows: int
    stop: int
    last: bool
    start: int = 0
    ids: np.ndarray | None = None


def specs_of(examples: Tree) -> Tree:
    """Return the `tf.TensorSpec`s of examples, with an unknown number of examples."""
    return map_tree(lambda a: _spec(tuple(a.shape[1:]), a.dtype), examples)


@functools.lru_cache(1024)
def _spec(shape: tuple[int | None, ...], dtype: Any) -> tf.TensorSpec:
    """Return the cached spec of examples of a shape: making a new one takes longer."""
    return tf.TensorSpec([None, *shape], tf.dtypes.as_dtype(dtype))


def parts_of(chunk: Chunk, size_in_bytes: int) -> Iterator[Chunk]:
    """Yield the batches of a chunk in parts of about that size, each of a power of two batches."""
    assert chunk.ids is not None
    leaves = tf.nest.flatten(chunk.examples)
    row = sum(int(np.prod(a.shape[1:])) * a.dtype.size for a in leaves)
    fit = size_in_bytes // max(1, chunk.rows * row)
    end = int(leaves[0].shape[0])
    size = chunk.rows * min(power_below(max(1, fit)), power_above(end // chunk.rows))
    for first in range(chunk.start - chunk.start % size, chunk.stop, size):
        stop = min(first + size, chunk.stop)
        if first + size <= end:
            examples = map_tree(lambda a: a[first : first + size], chunk.examples)  # noqa: B023
            ids = chunk.ids[first : first + size]
        else:
            rows = np.minimum(np.arange(first, first + size), stop - 1)
            examples = map_tree(lambda a: tf.gather(a, rows), chunk.examples)  # noqa: B023
            ids = chunk.ids[rows]
        last = chunk.last and stop == chunk.stop
        begin = max(chunk.start - first, 0)
        yield Chunk(examples, chunk.rows, stop - first, last, begin, ids)


def prefetch(chunks: Iterator[Chunk]) -> Iterator[Chunk]:
    """Yield the chunks, each made in a thread while the one before it is in use.

    A reader that leaves them waits until the chunk in the making is done, but not for a source that
    keeps it waiting.
    """
    requests = queue.SimpleQueue[Future[Chunk | None] | None]()

    def make() -> None:
        while (future := requests.get()) is not None:
            try:
                future.set_result(next(chunks, None))
            except BaseException as error:  # reaches the reader
                future.set_exception(error)

    def request() -> Future[Chunk | None]:
        future = Future[Chunk | None]()
        requests.put(future)
        return future

    thread = threading.Thread(target=make, daemon=True)
    thread.start()
    try:
        coming = request()
        while (chunk := coming.result()) is not None:
            coming = request()
            yield chunk
    finally:
        requests.put(None)
        thread.join(PATIENCE)


def length_of(name: str, examples: Tree) -> int:
    """Return the length that all the arrays have."""
    sizes = {int(a.shape[0]) if len(a.shape) else 0 for a in tf.nest.flatten(examples)}
    if len(sizes) != 1 or sizes == {0}:
        raise ValueError(
            f"{name} must be arrays of the same length, at least 1, got lengths {sorted(sizes)}"
        )
    return sizes.pop()


def as_numbers(name: str, array: Any, on_host: bool) -> Any:
    """Return an array of numbers, as a tensor unless it stays on the host."""
    if isinstance(array, LazyArray):
        return array
    try:
        checked = np.asanyarray(array) if on_host else as_tensor(array)
        dtype = tf.dtypes.as_dtype(checked.dtype)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name} must be arrays of numbers: {error}") from None
    if dtype in (tf.string, tf.resource, tf.variant):
        raise TypeError(f"{name} must be arrays of numbers, got one of {_description(array)}")
    return checked


def _description(array: Any) -> str:
    """Return a description of the content of an array that holds no numbers."""
    return "strings" if np.asanyarray(array).ndim else f"{type(array).__name__} objects"


def map_tree(function: Callable[[Any], Any], tree: Tree) -> Tree:
    """Return a structure with a function applied to each leaf."""
    if type(tree) is tuple:  # as most data are: `map_structure` takes longer than a small function
        return tuple(map_tree(function, branch) for branch in tree)
    return tf.nest.map_structure(function, tree) if tf.nest.is_nested(tree) else function(tree)


def power_below(x: int) -> int:
    """Return the largest power of two that is at most x."""
    return int(2 ** (x.bit_length() - 1))


def power_above(x: int) -> int:
    """Return the smallest power of two that is at least x."""
    return int(2 ** max(x - 1, 0).bit_length())
