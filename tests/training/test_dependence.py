"""Tensors that depend on others keep their values."""

from __future__ import annotations

import pytest
import tensorflow as tf
from helpers.trees import assert_same_bits

from trainlib.training.dependence import after


@pytest.mark.parametrize("dtype", [tf.float16, tf.bfloat16, tf.float32, tf.float64])
def test_tensors_after_others_keep_their_bits(dtype):
    tree = {
        "a": tf.constant([float("nan"), 1.0, -0.0], dtype),
        "b": tf.constant(2.0, dtype),
        "none": None,
        "empty": tf.zeros([0, 3], dtype),
        "rows": tf.IndexedSlices(
            tf.constant([[3.0]], dtype), tf.constant([1]), tf.constant([4, 1])
        ),
    }
    found = after([tf.constant([float("nan")], dtype), tf.constant(1.0, dtype)], tree)
    assert found["none"] is None
    assert_same_bits([found["a"], found["b"]], [tree["a"], tree["b"]])
    assert found["empty"].shape == [0, 3]
    assert float(found["rows"].values[0, 0]) == 3 and found["rows"].indices is tree["rows"].indices


def test_graphs_and_xla_keep_the_values_too():
    x = {"a": tf.constant([1.0, float("inf")]), "none": None}
    for jit in (False, True):
        run = tf.function(lambda known: after([known], x), autograph=False, jit_compile=jit)
        assert_same_bits(run(tf.constant([float("nan")]))["a"], x["a"])


def test_nothing_depends_on_tensors_without_values():
    x = {"a": tf.constant([1.0])}
    assert after([tf.zeros([0])], x) is x
