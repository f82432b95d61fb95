"""`as_tensor`: an array of NumPy as a tensor, in one copy."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

ALIGNMENT = 64
"""Alignment of a tensor's memory in bytes."""
SMALL_BYTES = 2**20
"""Arrays below this size are left to `tf.convert_to_tensor`."""


def as_tensor(array: Any) -> tf.Tensor:
    """Return an array as a tensor that shares no memory with it.

    `tf.convert_to_tensor` copies an array of NumPy, and copies it again if its address is not
    aligned, as for all large arrays: for a moment it needs memory for two copies. Here a copy is
    made at an aligned address and becomes the tensor by DLPack.

    Args:
        array: array, or anything else that `tf.convert_to_tensor` takes.

    Raises:
        TypeError: as `tf.convert_to_tensor`.
        ValueError: likewise.
    """
    is_plain = isinstance(array, np.ndarray) and array.dtype.isnative and array.dtype.kind in "iuf"
    if not is_plain or array.nbytes < SMALL_BYTES or array.dtype.itemsize > 8:
        return tf.convert_to_tensor(array)
    copy = _aligned(array.shape, array.dtype)
    copy[...] = array
    # `identity` moves it to the device on which operations run; on a CPU it copies nothing.
    return tf.identity(tf.experimental.dlpack.from_dlpack(copy.__dlpack__()))


def _aligned(shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray:
    """Return an array of undefined values at an aligned address."""
    size = int(np.prod(shape)) * dtype.itemsize
    memory = np.empty(size + ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % ALIGNMENT
    array: np.ndarray = memory[start : start + size].view(dtype).reshape(shape)
    return array
