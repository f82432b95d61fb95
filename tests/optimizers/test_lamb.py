"""Lamb, where the comparison with peers does not cover it."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import trainlib as tl

PARAMS = {"w": tf.constant([3.0, -4.0]), "b": tf.constant(0.5)}
GRADS = {"w": tf.constant([0.5, 0.25]), "b": tf.constant(1.0)}


def test_the_state_has_its_documented_fields():
    state = tl.lamb().init(PARAMS)
    assert state._fields == ("step", "m", "v")
    assert state.step.dtype == tf.int64 and state.step.shape == []
    assert state.m["w"].shape == [2] and state.v["b"].shape == []


def test_the_step_is_proportional_to_the_norm():
    tx = tl.lamb(0.125)
    updates, _ = tx.update(GRADS, tx.init(PARAMS), PARAMS)
    np.testing.assert_allclose(tf.norm(updates["w"]), 0.125 * 5, rtol=1e-6)


@pytest.mark.parametrize("convention", ["keras", "optax", "paper"])
def test_a_norm_of_zero_has_a_ratio_of_one(convention):
    tx = tl.lamb(0.125, convention=convention)
    zero = {"w": tf.zeros([2]), "b": tf.constant(0.5)}
    updates, _ = tx.update({"w": GRADS["w"], "b": tf.zeros([])}, tx.init(zero), zero)
    np.testing.assert_allclose(updates["w"], [-0.125, -0.125], rtol=1e-4)
    assert updates["b"] == 0


def test_decay_acts_inside_or_outside_the_ratio():
    """In the ratio it turns the step; before it, it adds to a step of the same length."""
    zeros = tf.nest.map_structure(tf.zeros_like, GRADS)
    inside = tl.lamb(0.125, weight_decay=0.5, convention="optax")
    updates, _ = inside.update(zeros, inside.init(PARAMS), PARAMS)
    np.testing.assert_allclose(updates["w"], -0.125 * PARAMS["w"], rtol=1e-6)
    before = tl.lamb(0.125, weight_decay=0.5)
    updates, _ = before.update(zeros, before.init(PARAMS), PARAMS)
    np.testing.assert_allclose(updates["w"], -0.125 * 0.5 * PARAMS["w"], rtol=1e-6)


@pytest.mark.parametrize("convention", ["keras", "optax"])
def test_the_mask_limits_the_decay_and_a_gradient_of_none_skips_its_parameter(convention):
    options = {"learning_rate": 0.125, "convention": convention}
    plain = tl.lamb(**options)
    tx = tl.lamb(weight_decay=0.5, decay_mask={"w": False, "b": True}, **options)
    state = tx.init(PARAMS)
    updates, after = tx.update(GRADS, state, PARAMS)
    expected, _ = plain.update(GRADS, state, PARAMS)
    np.testing.assert_array_equal(updates["w"], expected["w"])
    assert updates["b"] != expected["b"] or convention == "optax"  # of a scalar the sign alone
    updates, again = tx.update(GRADS | {"b": None}, after, PARAMS)
    assert updates["b"] is None and again.m["b"] == after.m["b"] and again.step == 2
