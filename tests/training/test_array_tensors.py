"""Arrays as tensors: their values, and the memory that making one takes."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import tensorflow as tf

from trainlib.training.array_tensors import ALIGNMENT, SMALL_BYTES, as_tensor, take_rows

ROWS = SMALL_BYTES // 8


@pytest.mark.parametrize(
    "dtype",
    ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"]
    + ["float16", "float32", "float64", "bool", "complex64"],
)
@pytest.mark.parametrize("rows", [3, ROWS], ids=["small", "large"])
def test_values_and_dtypes_are_kept(dtype, rows):
    array = (np.arange(rows * 8) % 100).reshape(rows, 2, 4).astype(dtype)
    tensor = as_tensor(array)
    assert tensor.dtype == tf.as_dtype(dtype)
    assert np.array_equal(tensor.numpy(), array)


@pytest.mark.parametrize("rows", [3, ROWS], ids=["small", "large"])
def test_a_change_of_the_array_does_not_change_the_tensor(rows):
    array = np.ones((rows, 4), "float32")
    tensor = as_tensor(array)
    array[:] = 2
    assert float(tf.reduce_max(tensor)) == 1


def test_arrays_in_any_order_and_without_memory_of_their_own():
    array = np.random.default_rng(0).standard_normal((ROWS, 6))
    for view in (array[::-1, ::2], np.asfortranarray(array), np.broadcast_to(array[0], (ROWS, 6))):
        assert np.array_equal(as_tensor(view).numpy(), view)


@pytest.mark.parametrize("rows", [3, 3 * ROWS], ids=["small", "large"])
@pytest.mark.parametrize("dtype", ["float32", "uint8", "bool"])
def test_rows_are_those_of_the_array(dtype, rows):
    array = (np.arange(ROWS * 4) % 100).reshape(ROWS, 4).astype(dtype)[::2]
    indices = np.random.default_rng(0).integers(0, len(array), rows)
    assert np.array_equal(take_rows(array, indices).numpy(), array[indices])


def test_a_large_array_is_copied_once_into_memory_that_goes_with_the_tensor():
    array = np.ones(16 * SMALL_BYTES // 4, "float32")
    as_tensor(array)
    tracemalloc.start()  # sees the memory of NumPy, not that of TensorFlow
    try:
        before = tracemalloc.get_traced_memory()[0]
        tensor = as_tensor(array)
        held, peak = tracemalloc.get_traced_memory()
        own = np.asarray(memoryview(tensor))
        aligned = own.ctypes.data % ALIGNMENT == 0
        del tensor, own
        left = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert aligned  # so that nothing has to copy it again
    assert held - before >= array.nbytes
    assert peak - before < 1.1 * array.nbytes
    assert left - before < 0.1 * array.nbytes
