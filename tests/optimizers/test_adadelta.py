"""Adadelta, where the comparison with peers does not cover it."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

import trainlib as tl

PARAMS = {"w": tf.constant([1.0, -2.0], tf.float64)}


def test_the_first_step_is_the_root_of_epsilon_over_a():
    tx = tl.adadelta(1.0, 0.75, 2.0**-6)
    grads = {"w": tf.constant([0.5, 0.0], tf.float64)}
    updates, state = tx.update(grads, tx.init(PARAMS), PARAMS)
    expected = -np.sqrt(2.0**-6 / (0.25 * 0.25 + 2.0**-6)) * 0.5
    np.testing.assert_allclose(updates["w"], [expected, 0.0], rtol=1e-15)
    np.testing.assert_allclose(state.d["w"], [0.25 * expected**2, 0.0], rtol=1e-15)


def test_the_rate_does_not_enter_the_state():
    grads = {"w": tf.constant([0.5, 0.25], tf.float64)}
    states = [
        tl.adadelta(rate).update(grads, tl.adadelta().init(PARAMS), PARAMS)[1] for rate in (1, 2)
    ]
    np.testing.assert_array_equal(states[0].d["w"], states[1].d["w"])
