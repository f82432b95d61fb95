"""Adafactor, where the comparison with peers does not cover it."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import trainlib as tl

PARAMS = {
    "scalar": tf.constant(0.5),
    "vector": tf.ones([5]),
    "matrix": tf.ones([3, 6]),
    "kernel": tf.ones([7, 3, 4]),
}


def shapes(slot):
    return {name: tuple(x.shape) for name, x in slot.items()}


def test_the_state_has_its_documented_fields():
    state = tl.adafactor().init(PARAMS)
    assert state._fields == ("step", "R", "C", "V", "M") and state.M == ()
    assert shapes(state.R) == {"scalar": (), "vector": (), "matrix": (3, 1), "kernel": (7, 3, 1)}
    assert shapes(state.C) == {"scalar": (), "vector": (), "matrix": (1, 6), "kernel": (7, 1, 4)}
    assert shapes(state.V) == {"scalar": (), "vector": (5,), "matrix": (), "kernel": ()}


def test_the_two_largest_axes_are_factored_from_min_dim_on():
    state = tl.adafactor(convention="optax", min_dim=4, momentum=0.5).init(PARAMS)
    assert shapes(state.R)["kernel"] == (1, 3, 4) and shapes(state.C)["kernel"] == (7, 3, 1)
    assert shapes(state.V)["matrix"] == (3, 6) and shapes(state.M)["matrix"] == (3, 6)


@pytest.mark.parametrize("convention", ["keras", "torch", "optax", "paper"])
@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
def test_gradients_of_zero_move_nothing(convention, dtype):
    params = tf.nest.map_structure(lambda w: tf.cast(w, dtype), PARAMS)
    zeros = tf.nest.map_structure(tf.zeros_like, params)
    tx = tl.adafactor(convention=convention)
    updates, state = tx.update(zeros, tx.init(params), params)
    assert all(np.all(u == 0) for u in tf.nest.flatten(updates))
    assert state.R["matrix"].dtype == ("float64" if dtype == "float64" else "float32")


def test_a_gradient_of_none_leaves_the_factors_unchanged():
    tx = tl.adafactor(weight_decay=0.5, momentum=0.5)
    grads = tf.nest.map_structure(tf.ones_like, PARAMS)
    _, state = tx.update(grads, tx.init(PARAMS), PARAMS)
    updates, after = tx.update(grads | {"matrix": None}, state, PARAMS)
    assert updates["matrix"] is None and after.step == 2
    for old, new in zip(state[1:], after[1:], strict=True):
        np.testing.assert_array_equal(old["matrix"], new["matrix"])


def test_the_step_is_relative_to_the_parameter():
    tx = tl.adafactor(2.0**-4)
    params = {"w": tf.fill([2, 2], 8.0)}
    updates, _ = tx.update({"w": tf.ones([2, 2])}, tx.init(params), params)
    np.testing.assert_allclose(updates["w"], tf.fill([2, 2], -0.5), rtol=1e-6)
