"""AdaBelief: what its second slot holds."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import trainlib as tl


def test_eps_root_accumulates_in_s():
    tx = tl.adabelief(beta_2=0.75, eps_root=0.5)
    w = tf.constant([1.0], tf.float64)
    state = tx.init(w)
    assert type(state)._fields == ("step", "m", "s")
    for t in range(1, 5):
        u, state = tx.update(tf.zeros([1], tf.float64), state, w)
        np.testing.assert_allclose(state.s, [0.5 * (1 - 0.75**t) / 0.25], rtol=1e-15)
        np.testing.assert_array_equal(u, [0.0])


def test_s_holds_squared_deviations_from_the_mean():
    tx = tl.adabelief(beta_1=0.5, beta_2=0.5, epsilon=1e-8, eps_root=0.0)
    w = tf.constant([1.0], tf.float64)
    _, state = tx.update(tf.constant([4.0], tf.float64), tx.init(w), w)
    np.testing.assert_array_equal(state.s, [0.5 * (4.0 - 2.0) ** 2])


def test_constant_gradients_give_large_steps():
    """The step grows where the gradient is as expected, unlike Adam's."""
    w = tf.constant([1.0], tf.float64)
    sizes = []
    for make in (tl.adabelief, tl.adam):
        tx = make(1.0, epsilon=1e-8)
        state = tx.init(w)
        for _ in range(100):
            u, state = tx.update(tf.constant([2.0], tf.float64), state, w)
        sizes.append(-float(u[0]))
    assert sizes[0] > 3 * sizes[1]


def test_two_epsilons_of_0_are_refused():
    with pytest.raises(ValueError, match="epsilon and eps_root are both 0"):
        tl.adabelief(epsilon=0.0, eps_root=0.0)
