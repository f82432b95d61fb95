"""What the comparison with peers does not cover of rmsprop."""

from __future__ import annotations

import inspect

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


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rho": 1.0}, "rho must be at least 0 and below 1, got 1.0"),
        ({"epsilon": 0.0}, "epsilon must be above 0, got 0.0"),
        ({"initial_scale": -1}, "initial_scale must be at least 0"),
        ({"nesterov": True}, "nesterov needs a momentum above 0"),
        ({"velocity": "out"}, "unknown velocity 'out': .*there are lr_in, lr_out"),
        ({"epsilon_place": "root"}, "unknown epsilon_place 'root'"),
        ({"convention": "paper"}, "unknown convention of rmsprop 'paper'"),
    ],
)
def test_bad_arguments_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        tl.rmsprop(**options)


def test_presets_are_the_defaults_of_the_libraries():
    keras, torch, optax = (pytest.importorskip(name) for name in ("keras", "torch", "optax"))
    presets = tl.rmsprop.conventions
    of_keras = defaults(keras.optimizers.RMSprop)
    for name in ("learning_rate", "rho", "epsilon"):
        assert presets["keras"][name] == of_keras[name]
    of_torch = defaults(torch.optim.RMSprop)
    for name, theirs in (("learning_rate", "lr"), ("rho", "alpha"), ("epsilon", "eps")):
        assert presets["torch"][name] == of_torch[theirs]
    of_optax = defaults(optax.rmsprop)
    for name, theirs in (("rho", "decay"), ("epsilon", "eps")):
        assert presets["optax"][name] == of_optax[theirs]


def defaults(factory):
    return {name: p.default for name, p in inspect.signature(factory).parameters.items()}
