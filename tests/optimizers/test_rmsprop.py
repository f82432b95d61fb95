"""RMSProp, where the comparison with peers does not cover it."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import trainlib as tl

PARAMS = {"w": tf.constant([1.0, -2.0], tf.float64), "b": tf.constant(0.5, tf.float64)}
ZEROS = {"w": tf.zeros([2], tf.float64), "b": tf.zeros([], tf.float64)}
ALL = {"momentum": 0.5, "centered": True, "initial_scale": 0.25}


def test_state_holds_only_what_the_options_need():
    state = tl.rmsprop().init(PARAMS)
    assert state._fields == ("step", "s", "a", "v")
    assert (state.a, state.v) == ((), ())
    state = tl.rmsprop(**ALL).init(PARAMS)
    np.testing.assert_array_equal(state.s["w"], [0.25, 0.25])
    np.testing.assert_array_equal(state.a["w"], [0.0, 0.0])
    np.testing.assert_array_equal(state.v["w"], [0.0, 0.0])


@pytest.mark.parametrize("convention", ["keras", "torch", "optax", "textbook"])
@pytest.mark.parametrize("centered", [True, False])
def test_gradients_of_zero_move_nothing(convention, centered):
    tx = tl.rmsprop(centered=centered, momentum=0.5, convention=convention)
    updates, _ = tx.update(ZEROS, tx.init(PARAMS), PARAMS)
    np.testing.assert_array_equal(updates["w"], [0.0, 0.0])


def test_a_gradient_of_none_leaves_every_slot():
    tx = tl.rmsprop(**ALL)
    _, state = tx.update(PARAMS, tx.init(PARAMS), PARAMS)
    updates, after = tx.update(PARAMS | {"b": None}, state, PARAMS)
    assert updates["b"] is None
    for slot in ("s", "a", "v"):
        np.testing.assert_array_equal(getattr(after, slot)["b"], getattr(state, slot)["b"])


def test_nesterov_without_momentum_is_refused():
    with pytest.raises(ValueError, match="nesterov needs a momentum above 0"):
        tl.rmsprop(nesterov=True)
