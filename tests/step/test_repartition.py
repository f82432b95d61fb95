"""A training state of which other parameters are trained keeps what it has by path."""

from __future__ import annotations

import tensorflow as tf

import trainlib as tl
from trainlib.step.repartition import carried_over, joined_weights, split_weights


def state(params, model_state, step):
    """A state whose moments of Adam are the step."""
    new = tl.init_state(params, model_state, tl.adam(0.1))
    moments = {k: tf.fill(x.shape, float(step)) for k, x in params.items()}
    inner = new.opt_state._replace(step=tf.constant(step, tf.int64), m=moments)
    return new._replace(opt_state=inner, step=tf.constant(step, tf.int64))


def test_moments_of_what_was_trained_go_on_and_others_are_new():
    old = state({"a": tf.ones([2])}, {"b": 2 * tf.ones([2]), "mean": tf.ones([1])}, 5)
    new = state({"a": tf.zeros([2]), "b": tf.zeros([2])}, {"mean": tf.zeros([1])}, 0)
    found = carried_over(new, old)
    assert {k: float(x[0]) for k, x in found.params.items()} == {"a": 1, "b": 2}
    assert float(found.model_state["mean"][0]) == 1
    assert {k: float(x[0]) for k, x in found.opt_state.m.items()} == {"a": 5, "b": 0}
    assert int(found.step) == int(found.opt_state.step) == 5


def test_the_finite_guard_keeps_its_counts_but_no_position_among_other_parameters():
    before, after = {"a": tf.ones([1]), "b": tf.ones([1])}, {"a": tf.ones([1])}
    old = tl.init_state(before, {}, tl.sgd(), finite_guard=True)
    guard = old.finite_guard._replace(
        skipped=tf.constant(3, tf.int64), nonfinite_index=tf.constant(2, tf.int64)
    )
    new = tl.init_state(after, {"b": tf.ones([1])}, tl.sgd(), finite_guard=True)
    found = carried_over(new, old._replace(finite_guard=guard)).finite_guard
    assert int(found.skipped) == 3
    assert tl.nonfinite_path(found, after) is None


def test_weights_are_one_dict_whatever_is_trained():
    first = state({"a": tf.ones([1])}, {"b": tf.zeros([1])}, 0)
    second = state({"b": tf.ones([1])}, {"a": tf.zeros([1])}, 0)
    joined = joined_weights(first.params, first.model_state)
    params, model_state = split_weights(joined, second)
    assert params["b"] is first.model_state["b"] and model_state["a"] is first.params["a"]
    pair = joined_weights([tf.ones([1])], ())
    assert split_weights(pair, first) == ([pair[0][0]], ())
