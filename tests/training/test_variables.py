"""Structures of variables: their values as tensors, and back."""

from __future__ import annotations

import pytest
import tensorflow as tf
from helpers.trees import arrays, assert_same_bits

from trainlib.training.variables import assign_values, read_values


def variables():
    return {"b": (tf.Variable([1.0, 2.0]), tf.Variable(3, dtype=tf.int64)), "a": tf.Variable(True)}


VALUES = {"b": (tf.constant([5.0, 6.0]), tf.constant(7, tf.int64)), "a": tf.constant(False)}


def test_assigned_values_are_read_back_in_the_same_structure():
    held = variables()
    assign_values(held, VALUES)
    assert_same_bits(read_values(held), VALUES)


def test_values_that_were_read_do_not_change_with_the_variables():
    held = variables()
    before = read_values(held)
    assign_values(held, VALUES)
    assert_same_bits(before, read_values(variables()))


def test_a_graph_reads_and_assigns_at_each_call():
    held = {"w": tf.Variable(1.0)}

    @tf.function
    def doubled():
        old = read_values(held)
        assign_values(held, {"w": 2 * old["w"]})
        return old

    assert [float(doubled()["w"]) for _ in range(3)] == [1.0, 2.0, 4.0]
    assert arrays(read_values(held)) == [8.0]


def test_values_of_another_structure_are_refused():
    with pytest.raises(ValueError, match="structure"):
        assign_values(variables(), {"a": tf.constant(True)})
