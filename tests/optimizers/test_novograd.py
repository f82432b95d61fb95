"""NovoGrad: one number per tensor, the first update, and decay within the momentum."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

import trainlib as tl

W = {"a": tf.constant([[1.0, 2.0], [3.0, 4.0]]), "b": tf.constant(5.0)}
G = {"a": tf.constant([[0.0, 3.0], [4.0, 0.0]]), "b": tf.constant(-2.0)}


def test_v_is_one_number_for_each_tensor():
    tx = tl.novograd(beta_2=0.25)
    state = tx.init(W)
    assert type(state)._fields == ("step", "m", "v")
    assert state.m["a"].shape == (2, 2) and state.v["a"].shape == ()
    _, state = tx.update(G, state, W)
    np.testing.assert_array_equal([state.v["a"], state.v["b"]], [25.0, 4.0])
    _, state = tx.update({"a": 2 * G["a"], "b": G["b"]}, state, W)
    np.testing.assert_array_equal([state.v["a"], state.v["b"]], [25 / 4 + 75, 4.0])


def test_scale_of_a_tensor_does_not_matter():
    tx = tl.novograd(epsilon=1e-30)
    large, _ = tx.update({"a": 1024 * G["a"], "b": G["b"]}, tx.init(W), W)
    small, _ = tx.update(G, tx.init(W), W)
    np.testing.assert_allclose(large["a"], small["a"], rtol=1e-6)


def test_zero_gradients_give_no_step_and_no_nan():
    tx = tl.novograd()
    zero = tf.nest.map_structure(tf.zeros_like, W)
    u, _ = tx.update(zero, tx.init(W), W)
    np.testing.assert_array_equal(u["a"], zero["a"])


def test_decay_enters_the_momentum():
    tx = tl.novograd(1.0, beta_1=0.5, weight_decay=0.25)
    zero = tf.nest.map_structure(tf.zeros_like, W)
    u, state = tx.update(zero, tx.init(W), W)
    np.testing.assert_array_equal(u["b"], -1.25)
    u, state = tx.update(zero, state, zero)
    np.testing.assert_array_equal(u["b"], -0.625)
