"""`as_data_adapter`: the adapter that yields the batches of the data given to `fit`.

The training loop receives all data as chunks: batches in tensors of one shape, which one call to
the device processes.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import tensorflow as tf

from trainlib.training.array_adapter import ArrayAdapter
from trainlib.training.chunks import check_pairs
from trainlib.training.stream_adapter import StreamAdapter

BATCH_SIZE = 32
"""Default number of examples in a training batch."""
DataAdapter: TypeAlias = ArrayAdapter | StreamAdapter
Data: TypeAlias = Any
"""Types of data that `as_data_adapter` accepts."""


def as_data_adapter(
    name: str,
    data: Data,
    batch_size: int | None = None,
    *,
    default: int = BATCH_SIZE,
    steps: int | None = None,
) -> DataAdapter:
    """Return arrays as an `ArrayAdapter`, other sources as a `StreamAdapter`.

    Args:
        name: name of the argument, for error messages.
        data: an adapter, which is returned as it is; a tuple of arrays; or what `StreamAdapter`
            takes.
        batch_size: examples per batch, for arrays only.
        default: batch size of arrays where none is given.
        steps: batches per epoch, for streams only.

    Raises:
        TypeError, ValueError: the data are malformed, or an argument does not apply to them.
    """
    if isinstance(data, (ArrayAdapter, StreamAdapter)):
        return data
    if not isinstance(data, (tuple, np.ndarray, tf.Tensor)):
        if batch_size is not None:
            raise ValueError(f"{name} are batches already: leave out batch_size={batch_size}")
        return StreamAdapter(name, data, steps)
    if steps is not None:
        raise ValueError(f"steps_per_epoch is for sources of batches, but {name} are arrays")
    return ArrayAdapter(
        name, check_pairs(name, data), default if batch_size is None else batch_size
    )
