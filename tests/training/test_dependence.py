"""Tensors that depend on another keep their values."""

from __future__ import annotations

import pytest
import tensorflow as tf
from helpers.trees import assert_same_bits

from trainlib.training.dependence import after


@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize("dtype", [tf.float16, tf.bfloat16, tf.float32, tf.float64])
def test_tensors_after_another_keep_their_bits(dtype, jit):
    x = [
        tf.constant([float("nan"), float("inf"), -0.0], dtype),
        tf.constant(2.0, dtype),
        tf.zeros([0, 3], dtype),
    ]
    run = tf.function(lambda known: after(known, x), autograph=False, jit_compile=jit)
    assert_same_bits(run(tf.constant([float("nan")], dtype)), x)


def test_nothing_depends_on_a_tensor_without_values():
    x = [tf.constant([1.0])]
    assert after(tf.zeros([0]), x)[0] is x[0]
