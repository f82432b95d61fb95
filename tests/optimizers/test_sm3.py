"""Sm3, where the comparison with Optax does not cover it."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import trainlib as tl

PARAMS = {
    "scalar": tf.ones([], tf.float64),
    "matrix": tf.ones([2, 3], tf.float64),
    "kernel": tf.ones([2, 3, 4], tf.bfloat16),
    "empty": tf.ones([0, 3]),
}


def test_state_holds_one_number_for_each_row_of_each_axis():
    state = tl.sm3().init(PARAMS)
    assert state._fields == ("step", "mu", "v")
    shapes = {name: mu.shape.as_list() for name, mu in state.mu.items()}
    assert shapes == {"scalar": [1], "matrix": [5], "kernel": [9], "empty": [3]}
    assert state.mu["matrix"].dtype == tf.float64 and state.mu["kernel"].dtype == tf.float32
    assert tl.sm3(momentum=0.0).init(PARAMS).v == ()


def test_rows_and_columns_hold_their_largest_sums():
    tx = tl.sm3(1.0, 0.0, 0.0)
    grads = PARAMS | {"matrix": tf.constant([[1.0, 0.0, 2.0], [3.0, 0.0, 0.0]], tf.float64)}
    _, state = tx.update(grads, tx.init(PARAMS), PARAMS)
    np.testing.assert_array_equal(state.mu["matrix"], [4, 9, 9, 0, 4])
    updates, state = tx.update(grads, state, PARAMS)
    np.testing.assert_array_equal(state.mu["matrix"], [8, 18, 18, 0, 8])
    nu = np.array([[1 + 4, 1, 4 + 4], [9 + 9, 1, 1]])  # 1 where g = 0
    np.testing.assert_allclose(updates["matrix"], -grads["matrix"] / np.sqrt(nu), rtol=1e-15)


def test_scalars_and_vectors_follow_adagrad():
    params = {"scalar": tf.ones([], tf.float64), "vector": tf.ones([3], tf.float64)}
    grads = {"scalar": params["scalar"], "vector": tf.constant([1.0, 0.0, -3.0], tf.float64)}
    moved = []
    for tx in (tl.sm3(0.5, 0.0, 1e-7), tl.adagrad(0.5, 0.0, 1e-7)):
        _, state = tx.update(grads, tx.init(params), params)
        moved.append(tx.update(grads, state, params)[0])
    np.testing.assert_array_equal(moved[0]["scalar"], moved[1]["scalar"])
    np.testing.assert_array_equal(moved[0]["vector"], moved[1]["vector"])


def test_empty_tensors_and_none_leave_the_state_finite():
    tx = tl.sm3()
    grads = PARAMS | {"matrix": None}
    updates, state = tf.function(tx.update)(grads, tx.init(PARAMS), PARAMS)
    assert updates["matrix"] is None
    np.testing.assert_array_equal(state.mu["matrix"], [0] * 5)
    np.testing.assert_array_equal(state.mu["empty"], [0] * 3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"learning_rate": -1}, "learning_rate must be at least 0"),
        ({"momentum": 1.0}, "momentum must be at least 0 and below 1, got 1.0"),
        ({"epsilon": -1}, "epsilon must be at least 0"),
    ],
)
def test_invalid_arguments_are_refused_by_name(options, message):
    with pytest.raises(ValueError, match=message):
        tl.sm3(**options)
