"""Loops of steps on one device: which batches they take, and when they end."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
import tensorflow as tf

from trainlib.metrics import Mean
from trainlib.training.devices import OneDevice, loop_condition, slice_batch, zero_absent

X = np.arange(14.0, dtype="float32")
EXAMPLES = tf.constant(X[:, None]), tf.constant(X)


def position(at):
    return tf.constant(at, tf.int64)


def total(metric_states):
    return float(metric_states["loss"].total), float(metric_states["loss"].count)


def test_a_training_loop_takes_whole_batches_and_knows_the_last_of_an_epoch():
    ends = []

    def step(state, batch, last):
        tf.numpy_function(lambda flag: ends.append(bool(flag)) or 0, [last], tf.int64)
        return {"sum": state["sum"] + tf.reduce_sum(batch[1])}, {
            "loss": Mean.from_model_output(batch[1])
        }

    variables = OneDevice().place({"sum": tf.constant(0.0)})
    loop = tf.function(OneDevice().train_loop(step, variables, 4))
    none = {"loss": Mean.empty()}
    states = loop(EXAMPLES, position(2), position(10), tf.constant(True), none)
    assert variables["sum"].numpy() == X[2:10].sum()
    assert total(states) == (X[2:10].sum(), 8)
    assert ends == [False, True]
    loop(EXAMPLES, position(10), position(14), tf.constant(False), states)
    assert ends == [False, True, False]


def test_an_evaluation_loop_takes_all_batches_and_assigns_what_the_step_changes():
    def step(state, batch):
        return {"batches": state["batches"] + 1}, {"loss": Mean.from_model_output(batch[1])}

    variables = OneDevice().place({"batches": tf.constant(0)})
    loop = tf.function(OneDevice().eval_loop(step, variables, 4))
    none = {"loss": Mean.empty()}
    states = loop(EXAMPLES, position(0), position(12), tf.constant(True), none)
    assert total(states) == (X[:12].sum(), 12)
    assert int(variables["batches"]) == 3


def body_of(loop, *arguments):
    """Return the types of the operations in the body of a loop's graph."""
    graph = tf.function(loop).get_concrete_function(*arguments).graph
    (name,) = {op.get_attr("body").name for op in graph.get_operations() if "While" in op.type}
    functions = {f.signature.name: f for f in graph.as_graph_def().library.function}
    return [node.op for node in functions[name].node_def]


def test_a_number_that_each_step_adds_is_added_once_after_the_loop():
    def step_with(count):
        def step(state, batch):
            return state, {"loss": Mean(tf.reduce_sum(tf.cast(batch[1], tf.float64)), count())}

        return step

    counts = {
        "alike": lambda: tf.constant(4.0, tf.float64),
        "a fraction": lambda: tf.constant(0.1, tf.float64),
        "different": lambda: tf.random.uniform([], 4.0, 4.0 + 1e-12, tf.float64),
    }
    arguments = EXAMPLES, position(2), position(14), tf.constant(True)
    states = {"loss": Mean(tf.constant(1.0, tf.float64), tf.constant(2.0, tf.float64))}
    additions = {}
    for name, count in counts.items():
        loop = OneDevice().eval_loop(step_with(count), {}, 4)
        additions[name] = body_of(loop, *arguments, states).count("AddV2")
        expected = 2 + 3 * (0.1 if name == "a fraction" else 4)
        found = total(tf.function(loop)(*arguments, states))
        assert found == (1 + X[2:14].sum(), pytest.approx(expected, rel=1e-9))
    assert additions["alike"] == additions["a fraction"] - 1
    assert additions["different"] >= additions["a fraction"]


def test_a_loop_that_halts_counts_the_steps_that_it_made():
    def step(state, batch, last):
        guard = Guard(tf.reduce_any(batch[1] == 5))
        return State(guard), {"loss": Mean(tf.reduce_max(batch[1]), tf.constant(4.0, tf.float64))}

    variables = State(Guard(tf.Variable(False)))
    loop = tf.function(OneDevice().train_loop(step, variables, 4, halts=True))
    none = {"loss": Mean(tf.constant(0.0), tf.constant(0.0, tf.float64))}
    states = loop(EXAMPLES, position(0), position(12), tf.constant(True), none)
    assert total(states) == (X[3] + X[7], 8)


@pytest.mark.parametrize("at", [0, 3, 10])
def test_a_batch_is_a_slice_of_each_array(at):
    images = tf.reshape(tf.range(14 * 6), [14, 2, 3])
    a, b = slice_batch((EXAMPLES[1], images), position(at), 4)
    np.testing.assert_array_equal(a, X[at : at + 4])
    np.testing.assert_array_equal(b, images[at : at + 4])
    assert b.shape == [4, 2, 3]


def test_absent_rows_get_weight_0_whatever_weights_there_are():
    present = tf.constant([True, True, False])
    x = y = tf.ones([3, 2])
    assert zero_absent((x, y), present)[2].numpy().tolist() == [1, 1, 0]
    weights = tf.constant([2.0, 0.5, float("nan")])
    assert zero_absent((x, y, weights), present)[2].numpy().tolist() == [2, 0.5, 0]
    by_step = tf.fill([3, 2], 0.25)
    found = zero_absent((x, y, by_step), present)[2].numpy().tolist()
    assert found == [[0.25, 0.25], [0.25, 0.25], [0, 0]]


class Guard(NamedTuple):
    exhausted: tf.Variable


class State(NamedTuple):
    finite_guard: Guard


def test_a_loop_that_halts_ends_after_a_step_that_cannot_be_repaired():
    variables = State(Guard(tf.Variable(False)))
    goes_on = loop_condition(variables, halts=True)(position(4), position(12))
    assert [bool(goes_on(position(at))) for at in (4, 8, 12)] == [True, True, False]
    variables.finite_guard.exhausted.assign(True)
    assert [bool(goes_on(position(at))) for at in (4, 8, 12)] == [True, False, False]
    without = loop_condition()(position(4), position(12))
    assert [bool(without(position(at))) for at in (4, 8, 12)] == [True, True, False]


def test_xla_compiles_the_loop_or_the_update():
    device = OneDevice()
    assert [device.compiles_loops(x) for x in ("graph", "xla", "xla_update")] == [
        False,
        True,
        False,
    ]
    assert device.compiled_parts("xla_update") == (False, True)
    assert device.compiled_parts("xla") == device.compiled_parts("graph") == (False, False)
