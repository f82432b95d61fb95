"""Arrays of NumPy, and rows of them, as tensors in one copy.

`tf.convert_to_tensor` copies an array twice, once more because the address of a large array is not
aligned as that of a tensor must be: for a moment it takes twice the memory. Here the copy is made
at an aligned address, and the tensor takes it over by DLPack.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import tensorflow as tf

ALIGNMENT = 64
"""Bytes of which the address of a tensor's memory must be a multiple."""
SMALL_BYTES = 2**20
"""Arrays below this size are left to `tf.convert_to_tensor`."""


def as_tensor(array: Any) -> tf.Tensor:
    """Return an array as a tensor that shares no memory with it.

    Args:
        array: array, or anything else that `tf.convert_to_tensor` takes.

    Raises:
        TypeError: as `tf.convert_to_tensor`.
        ValueError: likewise.
    """
    if not (isinstance(array, np.ndarray) and _is_large(array.shape, array.dtype)):
        return tf.convert_to_tensor(array)
    copy = _aligned(array.shape, array.dtype)
    np.copyto(copy, array)
    return _owner_of(copy)


def take_rows(array: np.ndarray, rows: np.ndarray) -> tf.Tensor:
    """Return rows of an array as a tensor.

    Args:
        array: array [n, ...].
        rows: their indices, integers [k] from 0 to n - 1, which are not checked.
    """
    shape = (len(rows), *array.shape[1:])
    if not _is_large(shape, array.dtype):
        return tf.convert_to_tensor(np.take(array, rows, axis=0))
    copy = _aligned(shape, array.dtype)
    # With mode="raise" NumPy would take the rows into another array first.
    np.take(array, rows, axis=0, out=copy, mode="clip")
    return _owner_of(copy)


def _is_large(shape: tuple[int, ...], dtype: np.dtype[Any]) -> bool:
    """Return whether an array is large, and of a dtype that DLPack has."""
    has_dtype = dtype.kind in "iuf" and dtype.isnative and dtype.itemsize <= 8
    return has_dtype and math.prod(shape) * dtype.itemsize >= SMALL_BYTES


def _aligned(shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray:
    """Return an array of undefined values at an aligned address."""
    size = math.prod(shape) * dtype.itemsize
    memory = np.empty(size + ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % ALIGNMENT
    array: np.ndarray = memory[start : start + size].view(dtype).reshape(shape)
    return array


def _owner_of(array: np.ndarray) -> tf.Tensor:
    """Return a tensor that takes over the memory of an array, which is not to be changed."""
    # `identity` moves it to the device on which operations run; on a CPU it copies nothing.
    return tf.identity(tf.experimental.dlpack.from_dlpack(array.__dlpack__()))
