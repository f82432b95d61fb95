"""Gradients of zero."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import trainlib as tl


@pytest.mark.parametrize("name", ["sign_sgd", "signum", "lion", "rprop"])
def test_gradients_of_zero_move_nothing(name):
    params = {"w": tf.constant([1.0, -2.0, 0.5], tf.float64)}
    tx = getattr(tl, name)()
    state = tx.init(params)
    for _ in range(2):
        updates, state = tx.update({"w": tf.zeros([3], tf.float64)}, state, params)
        np.testing.assert_array_equal(updates["w"], [0.0, 0.0, 0.0])
