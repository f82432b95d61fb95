"""Lars, where the comparison with peers does not cover it."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

import trainlib as tl

PARAMS = {"w": tf.constant([3.0, -4.0]), "b": tf.constant(0.0)}
GRADS = {"w": tf.constant([0.75, 1.0]), "b": tf.constant(0.5)}


def test_the_state_has_its_documented_fields():
    state = tl.lars().init(PARAMS)
    assert state._fields == ("step", "v")
    assert state.step.dtype == tf.int64 and state.v["w"].shape == [2]


def test_a_norm_of_zero_has_a_ratio_of_one():
    tx = tl.lars(0.5, trust_coefficient=0.25)
    updates, _ = tx.update(GRADS, tx.init(PARAMS), PARAMS)
    assert updates["b"] == -0.25
    np.testing.assert_allclose(updates["w"], -0.5 * 0.25 * 5 / 1.25 * GRADS["w"], rtol=1e-6)
    zeros = tf.nest.map_structure(tf.zeros_like, GRADS)
    updates, _ = tx.update(zeros, tx.init(PARAMS), PARAMS)
    np.testing.assert_array_equal(updates["w"], [0, 0])


def test_the_paper_adds_the_norms():
    tx = tl.lars(1.0, weight_decay=0.5, trust_coefficient=0.25, convention="paper")
    updates, _ = tx.update(GRADS, tx.init(PARAMS), PARAMS)
    d = GRADS["w"] + 0.5 * PARAMS["w"]
    np.testing.assert_allclose(updates["w"], -0.25 * 5 / (1.25 + 0.5 * 5) * d, rtol=1e-6)


def test_what_is_not_adapted_takes_plain_steps():
    tx = tl.lars(0.5, ratio_mask=lambda path: path != "w")
    updates, _ = tx.update(GRADS, tx.init(PARAMS), PARAMS)
    np.testing.assert_array_equal(updates["w"], -0.5 * GRADS["w"])


def test_a_gradient_of_none_makes_no_step():
    tx = tl.lars(weight_decay=tf.constant(0.5))
    _, state = tx.update(GRADS, tx.init(PARAMS), PARAMS)
    updates, after = tx.update(GRADS | {"w": None}, state, PARAMS)
    assert updates["w"] is None and after.step == 2
    np.testing.assert_array_equal(after.v["w"], state.v["w"])
