"""What the comparison with peers does not cover of sgd."""

from __future__ import annotations

import inspect

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


@pytest.mark.parametrize("convention", ["keras", "torch", "optax", "textbook"])
def test_a_gradient_of_none_moves_neither_parameter_nor_velocity(convention):
    tx = tl.sgd(0.5, momentum=0.5, weight_decay=0.5, convention=convention)
    _, state = tx.update(GRADS, tx.init(PARAMS), PARAMS)
    updates, after = tx.update(GRADS | {"b": None}, state, PARAMS)
    assert updates["b"] is None
    np.testing.assert_array_equal(after.v["b"], state.v["b"])


def test_conventions_part_once_the_rate_changes():
    moved = {}
    for convention in ("keras", "optax"):
        tx = tl.sgd(lambda k: tf.where(k == 0, 0.5, 0.0), momentum=0.5, convention=convention)
        _, state = tx.update(GRADS, tx.init(PARAMS), PARAMS)
        updates, _ = tx.update(GRADS, state, PARAMS)
        moved[convention] = updates["b"].numpy()
    assert moved == {"keras": -0.25, "optax": 0.0}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"learning_rate": -1}, "learning_rate must be at least 0, got -1"),
        ({"momentum": 1.5}, "momentum must be at least 0 and at most 1, got 1.5"),
        ({"nesterov": True}, "nesterov needs a momentum above 0, got momentum=0"),
        (
            {"momentum": 0.5, "nesterov": True, "dampening": 0.5},
            "nesterov needs a dampening of 0, got 0.5",
        ),
        ({"velocity": "lr-in"}, "unknown velocity 'lr-in': did you mean 'lr_in'?"),
        ({"first_velocity": "one"}, "unknown first_velocity 'one'"),
        ({"convention": "tensorflow"}, "unknown convention of sgd 'tensorflow'"),
    ],
)
def test_bad_arguments_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        tl.sgd(**options)


def test_rates_of_conventions_are_the_libraries():
    torch = pytest.importorskip("torch")
    keras = pytest.importorskip("keras")
    presets = tl.sgd.conventions
    assert presets["torch"]["learning_rate"] == _default(torch.optim.SGD, "lr")
    assert presets["keras"]["learning_rate"] == _default(keras.optimizers.SGD, "learning_rate")


def _default(factory, name):
    return inspect.signature(factory).parameters[name].default
