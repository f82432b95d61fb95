"""`as_data_adapter`: the adapter that yields the batches of the data given to `fit`.

The training loop receives all data as chunks: batches in tensors of one shape, which one call to
the device processes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import tensorflow as tf

from trainlib.training.array_adapter import ArrayAdapter
from trainlib.training.batches import Reader, is_array, read_inputs, read_pair
from trainlib.training.sources import WHOLE, EpochLength
from trainlib.training.stream_adapter import StreamAdapter

BATCH_SIZE = 32
"""Default number of examples in a training batch."""
DataAdapter: TypeAlias = ArrayAdapter | StreamAdapter
Data: TypeAlias = Any
"""Data of any type that `as_data_adapter` accepts."""


def as_data_adapter(
    name: str,
    data: Data,
    batch_size: int | None = None,
    *,
    default: int = BATCH_SIZE,
    length: EpochLength = WHOLE,
    read: Reader = read_pair,
) -> DataAdapter:
    """Return arrays as an `ArrayAdapter`, other sources as a `StreamAdapter`.

    Args:
        name: name of the argument, for error messages.
        data: an adapter, which is returned as it is; a tuple of arrays, or a list of two or three;
            or what `StreamAdapter` takes.
        batch_size: examples per batch, for arrays only. Default: None, that of `default`.
        default: examples per batch of arrays if `batch_size` is None. Default: 32.
        length: number of batches in an epoch; in training for streams only. Default: all.
        read: function that reads the arrays, or a batch, as a tuple. Default: `read_pair`.

    Raises:
        TypeError, ValueError: the data are malformed, or an argument does not apply to them.
    """
    if isinstance(data, (ArrayAdapter, StreamAdapter)):
        return data
    if not are_arrays(data):
        if batch_size is not None:
            raise ValueError(f"{name} are batches already: leave out batch_size={batch_size}")
        return StreamAdapter(name, data, length, read=read)
    if length.steps is not None and length.continues:
        raise ValueError(f"{length.argument} is for sources of batches, but {name} are arrays")
    return _as_array_adapter(
        name, read(name, data), default if batch_size is None else batch_size, length
    )


def as_input_adapter(
    x: Any, batch_size: int | None = None, *, default: int, length: EpochLength
) -> DataAdapter:
    """Return inputs as an adapter of batches (x,).

    Args:
        x: an array, a structure of arrays, or a source of batches x, (x, y) or (x, y,
            sample_weight); a list of tuples is such a source.
        batch_size: examples per batch, for arrays only. Default: None, that of `default`.
        default: examples per batch of arrays if `batch_size` is None.
        length: number of batches to take.

    Raises:
        TypeError, ValueError: as for `as_data_adapter`.
    """
    batches = isinstance(x, list) and len(x) > 0 and all(isinstance(b, tuple) for b in x)
    if is_array(x) or (isinstance(x, (tuple, list, Mapping)) and not batches):
        x = (x,)
    return as_data_adapter("x", x, batch_size, default=default, length=length, read=read_inputs)


def are_arrays(data: Data) -> bool:
    """Return whether data are arrays, well formed or not, rather than a source of batches.

    A list of two or three parts, with an array or a dict among them, is treated as a tuple.
    """
    if isinstance(data, list):
        return len(data) in (2, 3) and any(is_array(x) or isinstance(x, Mapping) for x in data)
    return isinstance(data, (tuple, Mapping)) or is_array(data)


def _as_array_adapter(
    name: str, examples: tuple[Any, ...], batch_size: int, length: EpochLength
) -> ArrayAdapter:
    """Return arrays as an adapter, cut after the number of batches that are taken."""
    adapter = ArrayAdapter(name, examples, batch_size)
    if length.steps is None:
        return adapter
    if adapter.batches() < length.steps:
        raise ValueError(
            f"{length.argument}={length.steps} is more than the {adapter.batches()} batches of "
            f"{name}: ask for fewer, or leave it out"
        )
    taken = tf.nest.map_structure(lambda a: a[: length.steps * batch_size], adapter.examples)
    return ArrayAdapter(name, taken, batch_size)


def check_batches(name: str, adapter: DataAdapter, layer: str, rows: int) -> None:
    """Raise `ValueError` unless arrays make batches of the size that a stateful layer takes.

    Args:
        name: name of the argument, for error messages.
        adapter: the data.
        layer: name of the layer.
        rows: batch size of the layer.
    """
    if not isinstance(adapter, ArrayAdapter):
        return
    takes = f"layer {layer!r} is stateful and takes batches of {rows}"
    if adapter.batch_size != rows:
        raise ValueError(f"{takes}: got batch_size={adapter.batch_size}")
    if adapter.size % rows:
        raise ValueError(
            f"{takes}, but the {adapter.size} examples of {name} leave a batch of "
            f"{adapter.size % rows}: leave these out"
        )
