"""Rprop, where the comparison with peers does not cover it."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import trainlib as tl

PARAMS = {"w": tf.constant([1.0, -2.0, 0.5], tf.float64)}


def rprop_path(signs, **options):
    """The updates of one weight under gradients of those signs, with dyadic factors."""
    tx = tl.rprop(1.0, 0.5, 2.0, 2.0**-4, 4.0, **options)
    params = tf.constant(0.0)
    state, path = tx.init(params), []
    for sign in signs:
        update, state = tx.update(tf.constant(sign), state, params)
        path.append(float(update))
    return path


@pytest.mark.parametrize(
    ("convention", "path"),
    [
        ("torch", [-1, -2, -4, -4, 0, 2, 4]),
        ("paper", [-1, -2, -4, -4, 4, 2, 4]),
        ("optax", [0, -1, -2, -4, 0, 0, 2]),
    ],
)
def test_each_variant_has_its_own_step_after_a_change_of_sign(convention, path):
    signs = [1.0, 3.0, 0.5, 1.0, -1.0, -1.0, -2.0]
    assert rprop_path(signs, convention=convention) == path


def test_step_sizes_stay_within_their_bounds():
    assert max(np.abs(rprop_path([1.0] * 6))) == 4
    steps = rprop_path([1.0, -1.0, -1.0, 1.0, 1.0, -1.0, -1.0, 1.0, 1.0, -1.0, -1.0])
    assert min(abs(u) for u in steps if u) == 2.0**-4


def test_step_sizes_start_at_the_first_value_of_a_schedule():
    tx = tl.rprop(tl.exponential_decay(0.25, 1, 0.5))
    np.testing.assert_array_equal(tx.init(PARAMS).delta["w"], [0.25] * 3)


def test_a_learning_rate_outside_the_step_sizes_is_refused():
    message = "between min_step_size and max_step_size, got 100.0, 1e-06 and 50.0"
    with pytest.raises(ValueError, match=message):
        tl.rprop(learning_rate=100.0)
