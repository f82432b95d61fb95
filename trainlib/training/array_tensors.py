"""Arrays of NumPy, and rows of them, as tensors in one copy.

`tf.convert_to_tensor` copies an array twice, once more where its address is not aligned as that of
a tensor must be, as that of a large array often is: for a moment it takes twice the memory. Here
the copy is made in an aligned array, and the tensor takes it over by DLPack.
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
    if not (isinstance(array, np.ndarray) and _is_large(array)):
        return tf.convert_to_tensor(array)
    copy = aligned_empty(array.shape, array.dtype)
    np.copyto(copy, array)
    return owning_tensor(copy)


def take_rows(array: np.ndarray, rows: np.ndarray) -> tf.Tensor:
    """Return rows of an array as a tensor.

    Args:
        array: array [n, ...].
        rows: their indices, integers [k] from 0 to n - 1, which are not checked.
    """
    taken = aligned_empty((len(rows), *array.shape[1:]), array.dtype)
    # With mode="raise" NumPy would take the rows into another array first.
    np.take(array, rows, axis=0, out=taken, mode="clip")
    return owning_tensor(taken)


def aligned_empty(shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray:
    """Return an array of undefined values, to be filled in for `owning_tensor`."""
    size = math.prod(shape) * dtype.itemsize
    memory = np.empty(size + ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % ALIGNMENT
    array: np.ndarray = memory[start : start + size].view(dtype).reshape(shape)
    return array


def owning_tensor(array: np.ndarray) -> tf.Tensor:
    """Return a tensor that takes over the memory of an array of `aligned_empty`, if it is large.

    Args:
        array: the array, or its first rows. It must not be changed any more.
    """
    if not _is_large(array):
        return tf.convert_to_tensor(array)
    # `identity` moves it to the device on which operations run; on a CPU it copies nothing.
    return tf.identity(tf.experimental.dlpack.from_dlpack(array.__dlpack__()))


def _is_large(array: np.ndarray) -> bool:
    """Return whether an array is large, and of a dtype that DLPack has."""
    dtype = array.dtype
    has_dtype = dtype.kind in "iuf" and dtype.isnative and dtype.itemsize <= 8
    return has_dtype and array.nbytes >= SMALL_BYTES
