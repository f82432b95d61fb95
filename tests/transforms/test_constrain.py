"""`constrain`."""

from __future__ import annotations

import pytest
import tensorflow as tf

import trainlib as tl


def test_constraint_holds_for_the_parameters_of_its_mask():
    params = {"a": tf.constant(1.0), "b": tf.constant(1.0), "c": tf.constant(1.0)}
    tx = tl.chain(tl.sgd(1.0), tl.constrain(tf.nn.relu, lambda path: path != "b"))
    grads = {"a": tf.constant(3.0), "b": tf.constant(3.0), "c": None}
    updates, _ = tx.update(grads, tx.init(params), params)
    assert updates["a"] == -1 and updates["b"] == -3 and updates["c"] is None


def test_anything_but_a_function_is_refused():
    with pytest.raises(TypeError, match="^constraint must be a function such as tl.max_norm"):
        tl.constrain(2.0)


def test_a_parameter_without_an_update_is_not_constrained():
    w = {"a": tf.constant(-1.0), "b": tf.constant(-1.0)}
    updates, _ = tl.constrain(tf.nn.relu).update({"a": tf.constant(0.5), "b": None}, (), w)
    assert float(updates["a"]) == 1.0
    assert updates["b"] is None
