"""`Source`: iterators of batches over data sets, sequences, generators and data loaders."""

from __future__ import annotations

import collections
import itertools
import operator
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from trainlib.core.checks import check_integer
from trainlib.training.batches import not_dense

NO_LENGTH = (TypeError, ValueError, NotImplementedError, AttributeError, OverflowError)
"""Exceptions of `len` for a source whose length is unknown."""


@dataclass(frozen=True)
class EpochLength:
    """Number of batches of a source in an epoch.

    Attributes:
        steps: number of batches; None for all that the source yields.
        argument: name of the argument that sets the number, for error messages.
        continues: whether the next epoch continues after them, as in training, or begins again.
    """

    steps: int | None = None
    argument: str = "steps_per_epoch"
    continues: bool = True

    def __post_init__(self) -> None:
        if self.steps is not None:
            check_integer(self.argument, self.steps, at_least=1)


WHOLE = EpochLength()
"""All batches of a source."""


class Source:
    """A data set, a `keras.utils.PyDataset`, another iterable, or a function that returns one.

    A PyDataset, or another object with `__len__` and `__getitem__` but no iterator, is read by
    index, in the order of the indices; `workers` threads read ahead. `on_epoch_begin` and
    `on_epoch_end` are called where a source has them.

    Args:
        name: name of the argument, for error messages.
        data: the source.
        length: number of batches in an epoch.

    Raises:
        TypeError: it is none of these.
        ValueError: it never ends, and the number of batches is not given.
    """

    def __init__(self, name: str, data: Any, length: EpochLength) -> None:
        if _yields_examples(data):
            raise TypeError(
                f"{name} is a torch Dataset of examples: pass a DataLoader of it, as in "
                "DataLoader(dataset, batch_size=32)"
            )
        if not (callable(data) or isinstance(data, Iterable) or _is_indexed(data)):
            raise TypeError(
                f"{name} must be arrays (x, y) or (x, y, sample_weight), a tf.data.Dataset of "
                f"batches, another iterable of them, or a function that returns one, got {data!r}"
            )
        if length.steps is None and _is_endless(data):
            raise ValueError(f"{name} never ends: pass {length.argument}, the batches to take")
        self.name, self.data, self.length = name, data, length

    def batches(self) -> int | None:
        """Return the number of batches until the source ends, None where it is unknown."""
        if isinstance(self.data, tf.data.Dataset):
            count = int(self.data.cardinality())
            return count if count >= 0 else None  # negative: unknown or infinite
        return _length(self.data)

    def open(self) -> Iterator[Any]:
        """Return a new iterator over the batches."""
        data = self.data
        if _is_indexed(data):
            return _read_by_index(data)
        if isinstance(data, tf.data.Dataset):
            _check_dense(self.name, data)
            iterator: Iterator[Any] = data.prefetch(tf.data.AUTOTUNE).as_numpy_iterator()
            return iterator
        if isinstance(data, Iterable):
            return iter(data)
        return Source(self.name, data(), self.length).open()

    def leave_out(self) -> None:
        """Skip an epoch that another process has read; a shuffled data set draws its next order.

        A data set draws the seed of its order when an iterator is made, a function may draw when it
        is called.
        """
        if isinstance(self.data, tf.data.Dataset):
            iter(self.data)
        elif not (_is_indexed(self.data) or isinstance(self.data, Iterable)):
            Source(self.name, self.data(), self.length).leave_out()

    def begin_epoch(self) -> None:
        """Call the `on_epoch_begin` of a source that has one."""
        _call(self.data, "on_epoch_begin")

    def end_epoch(self) -> None:
        """Call the `on_epoch_end` of a source that has one."""
        _call(self.data, "on_epoch_end")


def _is_indexed(data: Any) -> bool:
    """Return whether batches are read by index: a PyDataset, or a sequence that is like one."""
    if isinstance(data, keras.utils.PyDataset):
        return True
    if isinstance(data, (tf.data.Dataset, type)):
        return False
    sized = hasattr(data, "__getitem__") and hasattr(data, "__len__")
    return sized and (not hasattr(data, "__iter__") or hasattr(data, "on_epoch_end"))


def _is_endless(data: Any) -> bool:
    """Return whether a source is known never to end."""
    if isinstance(data, tf.data.Dataset):
        return bool(int(data.cardinality()) == tf.data.INFINITE_CARDINALITY)
    if isinstance(data, keras.utils.PyDataset):
        return _length(data) is None
    if isinstance(data, itertools.repeat):
        return operator.length_hint(data, -1) < 0
    return isinstance(data, (itertools.cycle, itertools.count))


def _length(data: Any) -> int | None:
    """Return the number of batches that a sized object has; None where it is unknown."""
    try:
        if isinstance(data, keras.utils.PyDataset):
            return None if data.num_batches is None else int(data.num_batches)
        return len(data)
    except NO_LENGTH:
        return None


def _yields_examples(data: Any) -> bool:
    """Return whether an object is a map-style `Dataset` of PyTorch."""
    bases = type(data).__mro__
    of_torch = any(
        base.__name__ == "Dataset" and base.__module__.startswith("torch.utils.data")
        for base in bases
    )
    return of_torch and not hasattr(data, "__iter__")


def _check_dense(name: str, data: tf.data.Dataset) -> None:
    """Raise `TypeError` if a data set yields ragged or sparse tensors."""
    for spec in tf.nest.flatten(data.element_spec):
        if isinstance(spec, (tf.RaggedTensorSpec, tf.SparseTensorSpec)):
            kind = type(spec).__name__.removesuffix("Spec")
            raise not_dense(name, kind, "dataset.map(lambda x, y: ({dense}, y))")


def _call(data: Any, method: str) -> None:
    """Call a method of a source, if it has that method and is not a class or a function."""
    function: Callable[[], Any] | None = getattr(data, method, None)
    if function is not None and not isinstance(data, type):
        function()


def _read_by_index(data: Any) -> Iterator[Any]:
    """Yield the batches of an indexed source in their order, read ahead by its workers."""
    count = _length(data)
    indices = iter(range(count)) if count is not None else itertools.count()
    workers = max(1, int(getattr(data, "workers", 1) or 1))
    if workers == 1:
        yield from map(data.__getitem__, indices)
        return
    ahead = max(workers, int(getattr(data, "max_queue_size", workers)))
    with ThreadPoolExecutor(workers) as pool:
        read: collections.deque[Future[Any]] = collections.deque()
        for index in indices:
            read.append(pool.submit(data.__getitem__, index))
            if len(read) >= ahead:
                yield read.popleft().result()
        while read:
            yield read.popleft().result()
