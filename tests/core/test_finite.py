"""Infinities and NaNs in structures of tensors."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from helpers.executions import EXECUTIONS

from trainlib.core.finite import all_finite, first_nonfinite, nonfinite_leaf

BAD = (np.inf, -np.inf, np.nan)


@pytest.mark.parametrize("execution", EXECUTIONS)
@pytest.mark.parametrize("bad", BAD)
def test_the_first_tensor_with_a_bad_element_is_found(bad, execution):
    def index(second, last):
        return first_nonfinite({"a": tf.ones([2]), "b": [None, second], "c": last})

    find = EXECUTIONS[execution](index)
    good, wrong = tf.constant([[1.0], [2.0]]), tf.constant([[1.0], [bad]])
    assert int(find(good, good)) == -1
    assert int(find(good, wrong)) == 3
    assert int(find(wrong, wrong)) == 2


@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16", "float16"])
def test_the_index_is_an_int64_for_any_dtype(dtype):
    index = first_nonfinite([tf.constant([1.0], dtype), tf.constant([np.nan], dtype)])
    assert (index.dtype, int(index)) == (tf.int64, 1)


@pytest.mark.parametrize("nothing", [[], [None, None], (), {"a": None}])
def test_no_tensors_are_finite(nothing):
    assert int(first_nonfinite(nothing)) == -1
    assert bool(all_finite(nothing))


def test_bad_rows_of_slices_are_found():
    rows = tf.IndexedSlices(tf.constant([[1.0], [np.inf]]), tf.constant([0, 2]), [3, 1])
    assert int(first_nonfinite([rows])) == 0
    assert not bool(all_finite([rows]))


@pytest.mark.parametrize("make", [tf.constant, tf.Variable])
def test_a_bad_tensor_is_named_by_its_path(make):
    params = {"a": [make([1.0]), make([2.0])], "b": None}
    assert nonfinite_leaf(params) is None
    params["a"][1] = make([np.inf])
    assert nonfinite_leaf(params) == "a/1"
