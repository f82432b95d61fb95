"""Prodigy, where the comparison with peers does not cover it."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from helpers.executions import graph

import trainlib as tl

PARAMS = {"w": tf.constant([3.0, -2.0]), "b": tf.constant(0.5)}


def run(tx, steps, grads_of=lambda params: params):
    params, state = PARAMS, tx.init(PARAMS)
    update = graph(tx.update)
    for _ in range(steps):
        updates, state = update(grads_of(params), state, params)
        params = tl.apply_updates(params, updates)
    return params, state


def test_the_state_has_its_documented_fields():
    state = tl.prodigy().init(PARAMS)
    assert state._fields == ("step", "m", "v", "s", "w_0", "r", "d")
    assert state.step.dtype == tf.int64 and state.d.dtype == tf.float64
    assert float(state.d) == 1e-6
    np.testing.assert_array_equal(state.w_0["w"], PARAMS["w"])


@pytest.mark.parametrize("convention", ["optax", "paper"])
def test_the_estimate_grows_to_the_distance(convention):
    _, state = run(tl.prodigy(convention=convention), 200)
    assert 0.1 < float(state.d) < 10


def test_gradients_of_zero_leave_the_estimate():
    zeros = tf.nest.map_structure(tf.zeros_like, PARAMS)
    params, state = run(tl.prodigy(), 2, lambda _: zeros)
    assert float(state.d) == 1e-6
    tf.nest.map_structure(np.testing.assert_array_equal, params, PARAMS)


def test_epsilon_takes_the_estimate_of_its_convention():
    """At the second update d grows; with a large epsilon the step is m / (d epsilon)."""
    steps = {}
    for times in ("d", "d_next"):
        tx = tl.prodigy(epsilon=2.0**20, epsilon_times=times, d_coef=100.0)
        state = tx.init(PARAMS)._replace(d=tf.constant(0.5, tf.float64))
        moved = tf.nest.map_structure(lambda w: w / 2, PARAMS)
        updates, after = tx.update(moved, state, moved)
        steps[times] = updates["w"] * float(after.d if times == "d_next" else state.d)
        assert after.d > state.d
    np.testing.assert_allclose(steps["d"], steps["d_next"], rtol=1e-5)


def test_a_gradient_of_none_makes_no_step():
    tx = tl.prodigy(weight_decay=0.5)
    updates, state = tx.update({"w": PARAMS["w"], "b": None}, tx.init(PARAMS), PARAMS)
    assert updates["b"] is None and state.s["b"] == 0
    assert np.all(updates["w"] != 0)


def test_hyperparameters_may_be_tensors():
    tx = tl.prodigy(tf.constant(1.0), tf.constant(0.875), tf.constant(0.75), d_0=tf.constant(0.25))
    plain = tl.prodigy(1.0, 0.875, 0.75, d_0=0.25)
    tf.nest.map_structure(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), run(tx, 3), run(plain, 3)
    )


def test_invalid_arguments_are_refused_by_name():
    with pytest.raises(ValueError, match="d_0 must be above 0, got 0"):
        tl.prodigy(d_0=0)
    with pytest.raises(ValueError, match="unknown epsilon_times 'next'"):
        tl.prodigy(epsilon_times="next")
