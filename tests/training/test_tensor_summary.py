"""Summaries of tensors: the range of the finite elements, and the number of the others."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from trainlib.training.tensor_summary import TensorSummary, format_table, summarize


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_the_range_is_that_of_the_finite_elements(dtype):
    values = tf.constant([[-2.0, np.nan, 1.0], [np.inf, -np.inf, 0.0]], dtype)
    expected = TensorSummary("x", dtype, (2, 3), -2.0, 1.0, 1.0, 1, 2)
    assert summarize("x", values.numpy()) == expected
    assert not expected.is_finite


def test_an_empty_tensor_is_finite_and_has_no_range():
    found = summarize("x", np.zeros([0, 3], "float32"))
    assert np.isnan([found.min, found.max, found.mean]).all()
    assert found.is_finite
    assert format_table([found]).endswith("\nall tensors are finite")
