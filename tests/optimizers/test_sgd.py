"""Gradient descent and its momentum, where the comparison with peers does not cover them."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import trainlib as tl

PARAMS = {"w": tf.constant([1.0, -2.0]), "b": tf.constant(0.5)}
GRADS = {"w": tf.constant([0.5, 0.25]), "b": tf.constant(1.0)}


def test_state_holds_a_velocity_only_with_momentum():
    assert tl.sgd().init(PARAMS).v == ()
    state = tl.sgd(momentum=0.5).init(PARAMS)
    assert state._fields == ("step", "v")
    assert state.step.dtype == tf.int64 and state.step.shape == []
    assert state.v["w"].shape == [2] and state.v["b"].shape == []


def test_a_momentum_tensor_may_be_zero():
    tx = tl.sgd(0.5, momentum=tf.constant(0.0), nesterov=True)
    updates, _ = tx.update(GRADS, tx.init(PARAMS), PARAMS)
    np.testing.assert_array_equal(updates["w"], [-0.25, -0.125])


def test_conventions_differ_once_the_rate_changes():
    moved = {}
    for convention in ("keras", "optax"):
        tx = tl.sgd(lambda k: tf.where(k == 0, 0.5, 0.0), momentum=0.5, convention=convention)
        _, state = tx.update(GRADS, tx.init(PARAMS), PARAMS)
        updates, _ = tx.update(GRADS, state, PARAMS)
        moved[convention] = updates["b"].numpy()
    assert moved == {"keras": -0.25, "optax": 0.0}


def test_nesterov_without_momentum_or_with_dampening_is_refused():
    with pytest.raises(ValueError, match="nesterov needs a momentum above 0, got momentum=0"):
        tl.sgd(nesterov=True)
    with pytest.raises(ValueError, match="nesterov needs a dampening of 0, got 0.5"):
        tl.sgd(momentum=0.5, nesterov=True, dampening=0.5)
