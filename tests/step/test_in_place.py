"""Gradients that are known before the first update: their values, and what XLA makes of them."""

from __future__ import annotations

import re

import numpy as np
import pytest
import tensorflow as tf
from helpers.trees import assert_same_bits

import trainlib as tl
from trainlib.step.in_place import after, after_all

SIDE = 256


@pytest.mark.parametrize("dtype", [tf.float16, tf.bfloat16, tf.float32, tf.float64])
def test_the_values_stay_as_they_are(dtype):
    grads = {
        "a": tf.constant([float("nan"), 1.0, -0.0], dtype),
        "b": tf.constant(2.0, dtype),
        "none": None,
        "empty": tf.zeros([0, 3], dtype),
        "rows": tf.IndexedSlices(
            tf.constant([[3.0]], dtype), tf.constant([1]), tf.constant([4, 1])
        ),
    }
    found = after_all(grads)
    assert found["none"] is None
    assert_same_bits([found["a"], found["b"]], [grads["a"], grads["b"]])
    assert found["empty"].shape == [0, 3]
    assert float(found["rows"].values[0, 0]) == 3 and found["rows"].indices is grads["rows"].indices


def test_tensors_after_others_have_their_values_in_graphs_and_under_xla():
    x = {"a": tf.constant([1.0, float("inf")]), "none": None}
    for jit in (False, True):
        run = tf.function(lambda known: after([known], x), autograph=False, jit_compile=jit)
        assert_same_bits(run(tf.constant([float("nan")]))["a"], x["a"])
    assert after([tf.zeros([0])], x) is x


def dense(params, model_state, x, training):
    for w in params["kernels"]:
        x = tf.tanh(x @ w)
    return tl.ModelOutput(x @ params["last"])


@pytest.fixture(scope="module")
def start():
    rng = np.random.default_rng(0)
    kernels = [tf.constant(rng.normal(0, 0.1, (SIDE, SIDE)), tf.float32) for _ in range(2)]
    return {"kernels": kernels, "last": tf.constant(rng.normal(0, 0.1, (SIDE, 1)), tf.float32)}


def three_steps(in_place):
    """Return a compiled function of a state that makes three steps."""
    config = tl.StepConfig(dense, tl.losses.mean_squared_error, tl.sgd(0.125, momentum=0.75))
    step = tl.train_step(config, in_place=in_place)
    x = tf.constant(np.random.default_rng(1).normal(size=(4, SIDE)), tf.float32)

    def run(state):
        def body(i, state):
            return i + 1, step(state, (x, tf.ones([4, 1])))[0]

        return tf.while_loop(lambda i, _: i < 3, body, (0, state))[1]

    return tf.function(run, jit_compile=True, autograph=False)


def test_xla_updates_without_a_copy_and_to_the_same_bits(start):
    copies, params = {}, {}
    for in_place in (False, True):
        function = three_steps(in_place)
        state = tl.init_state(start, (), tl.sgd(0.125, momentum=0.75))
        hlo = function.experimental_get_compiler_ir(state)(stage="optimized_hlo")
        body = max(re.findall(r"^%\S*body.*?^}", hlo, re.M | re.S), key=len)
        copies[in_place] = len(re.findall(rf"f32\[{SIDE},{SIDE}\]\S* copy\(", body))
        params[in_place] = function(state).params
    assert copies[False] > 0
    assert copies[True] == 0
    assert_same_bits(params[True], params[False])
