"""A model on a replica: separate random draws, from a state that stays the same on all."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

import trainlib as tl
from trainlib.step.state import Part
from trainlib.training.functional_model import functional_from_keras
from trainlib.training.replicated_model import replicated
from trainlib.training.strategies import mirrored

ROWS = np.ones([1, 50], "float32")


def run(apply_fn, model_state, training=True):
    """The output of a model's function on the only replica of a strategy."""
    call = tf.function(lambda: replicated(apply_fn)({}, model_state, (ROWS, Part(2)), training))
    return mirrored(1).run(call)


def dropout():
    inputs = keras.Input((50,))
    return functional_from_keras(keras.Model(inputs, keras.layers.Dropout(0.5)(inputs)), seed=4)


def test_a_replica_draws_other_numbers_than_one_device_and_repeats_them():
    model = dropout()
    first, again = (run(model.apply_fn, model.model_state).y_pred.numpy() for _ in range(2))
    alone = model.apply_fn({}, model.model_state, ROWS, training=True).y_pred.numpy()
    np.testing.assert_array_equal(first, again)
    assert 5 < np.count_nonzero(first) < 45
    assert np.any(first != alone)


def test_seeds_advance_by_the_number_of_draws_and_not_by_the_replicas_seed():
    model = dropout()
    (seed,) = model.model_state.values()
    (after,) = run(model.apply_fn, model.model_state).model_state.values()
    (alone,) = model.apply_fn({}, model.model_state, ROWS, training=True).model_state.values()
    np.testing.assert_array_equal(after, alone)
    assert np.any(after != seed)


def test_state_that_is_not_a_seed_is_passed_on():
    def counting(params, model_state, x, training):
        return tl.ModelOutput(x, tf.nest.map_structure(lambda v: v + 1, model_state))

    assert float(run(counting, {"count": tf.constant(3.0)}).model_state["count"]) == 4
    assert float(run(counting, tf.constant(3.0)).model_state) == 4
