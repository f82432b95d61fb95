"""Adagrad, where the comparison with peers does not cover it."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

import trainlib as tl

PARAMS = {"w": tf.constant([1.0, -2.0], tf.float64)}
HALF_ZERO = {"w": tf.constant([0.0, 0.5], tf.float64)}


def first_update(**options):
    tx = tl.adagrad(0.5, 0.0, 0.0, **options)
    updates, _ = tx.update(HALF_ZERO, tx.init(PARAMS), PARAMS)
    return updates["w"].numpy()


def test_without_epsilon_a_gradient_of_zero_is_nan_as_in_torch():
    np.testing.assert_array_equal(first_update(convention="torch"), [np.nan, -0.5])
    np.testing.assert_array_equal(first_update(), [np.nan, -0.5])


def test_without_epsilon_the_zero_guard_of_optax_makes_no_step():
    np.testing.assert_array_equal(first_update(convention="optax"), [0.0, -0.5])
    np.testing.assert_array_equal(first_update(zero_guard=True), [0.0, -0.5])


def test_state_starts_at_the_accumulator_in_the_compute_dtype():
    state = tl.adagrad(initial_accumulator_value=0.25).init({"w": tf.ones([2], tf.float16)})
    assert state._fields == ("step", "s")
    assert state.s["w"].dtype == tf.float32
    np.testing.assert_array_equal(state.s["w"], [0.25, 0.25])
