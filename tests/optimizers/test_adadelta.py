"""What the comparison with peers does not cover of adadelta."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
import tensorflow as tf

import trainlib as tl

PARAMS = {"w": tf.constant([1.0, -2.0], tf.float64)}


def test_the_first_step_is_the_root_of_epsilon_over_a():
    tx = tl.adadelta(1.0, 0.75, 2.0**-6)
    grads = {"w": tf.constant([0.5, 0.0], tf.float64)}
    updates, state = tx.update(grads, tx.init(PARAMS), PARAMS)
    expected = -np.sqrt(2.0**-6 / (0.25 * 0.25 + 2.0**-6)) * 0.5
    np.testing.assert_allclose(updates["w"], [expected, 0.0], rtol=1e-15)
    np.testing.assert_allclose(state.d["w"], [0.25 * expected**2, 0.0], rtol=1e-15)


def test_the_rate_does_not_enter_the_state():
    grads = {"w": tf.constant([0.5, 0.25], tf.float64)}
    states = [
        tl.adadelta(rate).update(grads, tl.adadelta().init(PARAMS), PARAMS)[1] for rate in (1, 2)
    ]
    np.testing.assert_array_equal(states[0].d["w"], states[1].d["w"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rho": 1.0}, "rho must be at least 0 and below 1, got 1.0"),
        ({"epsilon": 0.0}, "epsilon must be above 0, got 0.0"),
        ({"convention": "textbook"}, "unknown convention of adadelta 'textbook'"),
    ],
)
def test_bad_arguments_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        tl.adadelta(**options)


def test_presets_are_the_defaults_of_the_libraries():
    keras, torch, optax = (pytest.importorskip(name) for name in ("keras", "torch", "optax"))
    presets = tl.adadelta.conventions
    of_keras = defaults(keras.optimizers.Adadelta)
    for name in ("learning_rate", "rho", "epsilon"):
        assert presets["keras"][name] == of_keras[name]
    for library, factory in (("torch", torch.optim.Adadelta), ("optax", optax.adadelta)):
        assert presets[library]["rho"] == defaults(factory)["rho"]
        assert presets[library]["epsilon"] == defaults(factory)["eps"]
    assert presets["torch"]["learning_rate"] == defaults(torch.optim.Adadelta)["lr"]


def defaults(factory):
    return {name: p.default for name, p in inspect.signature(factory).parameters.items()}
