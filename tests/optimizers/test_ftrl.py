"""Ftrl, where the comparison with peers does not cover it."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import trainlib as tl

PARAMS = {"w": tf.constant([1.0, -2.0, 0.0], tf.float64)}
ZEROS = {"w": tf.zeros([3], tf.float64)}
STRENGTHS = {
    "l1_regularization_strength": 0.25,
    "l2_regularization_strength": 0.5,
    "beta": 0.125,
}


def moved(grads, **options):
    tx = tl.ftrl(2.0**-6, **options)
    updates, _ = tx.update(grads, tx.init(PARAMS), PARAMS)
    return tl.apply_updates(PARAMS, updates)["w"].numpy()


@pytest.mark.parametrize("convention", ["keras", "paper"])
def test_z_init_zero_discards_the_initial_weights(convention):
    np.testing.assert_array_equal(moved(ZEROS, convention=convention), [0.0, 0.0, 0.0])


@pytest.mark.parametrize("strengths", [{}, STRENGTHS])
@pytest.mark.parametrize("convention", ["keras", "paper"])
def test_z_init_consistent_keeps_the_initial_weights(convention, strengths):
    w = moved(ZEROS, z_init="consistent", convention=convention, **strengths)
    np.testing.assert_allclose(w, PARAMS["w"], rtol=1e-14)


def test_z_init_consistent_then_descends_as_adagrad():
    """Without penalties it is AdaGrad, whose root has no epsilon."""
    grads = {"w": tf.constant([0.5, -0.25, 1.0], tf.float64)}
    tx = tl.adagrad(2.0**-6, 0.125, 0.0)
    updates, _ = tx.update(grads, tx.init(PARAMS), PARAMS)
    w = moved(grads, z_init="consistent", initial_accumulator_value=0.125)
    np.testing.assert_allclose(w, PARAMS["w"] + updates["w"], rtol=1e-14)


def test_a_large_l1_makes_weights_exactly_zero():
    grads = {"w": tf.constant([0.1, -0.2, 30.0], tf.float64)}
    w = moved(grads, l1_regularization_strength=8.0)
    np.testing.assert_array_equal(w[:2], [0.0, 0.0])
    assert w[2] < 0


def test_the_state_has_its_documented_fields():
    state = tl.ftrl().init({"w": tf.ones([2], tf.bfloat16)})
    assert state._fields == ("step", "n", "z")
    assert state.n["w"].dtype == state.z["w"].dtype == tf.float32
