"""`as_data_adapter`: what `fit` takes as data, as the adapter that yields its batches.

The training loop receives all data as chunks: a number of batches in tensors of one shape, which a
single call to the device goes through.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import tensorflow as tf

from trainlib.training.array_adapter import ArrayAdapter
from trainlib.training.chunks import check_pairs
from trainlib.training.stream_adapter import StreamAdapter

BATCH_SIZE = 32
"""Examples per training batch where none is given."""
DataAdapter: TypeAlias = ArrayAdapter | StreamAdapter
Data: TypeAlias = Any
"""What `as_data_adapter` takes."""


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
