"""What the comparison with peers does not cover of adagrad."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
import tensorflow as tf

import trainlib as tl

PARAMS = {"w": tf.constant([1.0, -2.0], tf.float64)}
HALF_ZERO = {"w": tf.constant([0.0, 0.5], tf.float64)}


def first_update(**options):
    tx = tl.adagrad(0.5, 0.0, 0.0, **options)
    updates, _ = tx.update(HALF_ZERO, tx.init(PARAMS), PARAMS)
    return updates["w"].numpy()


def test_without_epsilon_a_gradient_of_zero_is_nan_as_in_torch():
    np.testing.assert_array_equal(first_update(convention="torch"), [np.nan, -0.5])
    np.testing.assert_array_equal(first_update(), [np.nan, -0.5])


def test_without_epsilon_the_guard_of_optax_makes_no_step():
    np.testing.assert_array_equal(first_update(convention="optax"), [0.0, -0.5])
    np.testing.assert_array_equal(first_update(zero_guard=True), [0.0, -0.5])


def test_state_starts_at_the_accumulator_in_the_compute_dtype():
    state = tl.adagrad(initial_accumulator_value=0.25).init({"w": tf.ones([2], tf.float16)})
    assert state._fields == ("step", "s")
    assert state.s["w"].dtype == tf.float32
    np.testing.assert_array_equal(state.s["w"], [0.25, 0.25])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epsilon": -1e-7}, "epsilon must be at least 0"),
        ({"initial_accumulator_value": -1}, "initial_accumulator_value must be at least 0"),
        ({"lr_decay": -1}, "lr_decay must be at least 0"),
        ({"epsilon_place": "in"}, "unknown epsilon_place 'in': .*there are inside, outside"),
    ],
)
def test_bad_arguments_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        tl.adagrad(**options)


def test_presets_are_the_defaults_of_the_libraries():
    keras, torch, optax = (pytest.importorskip(name) for name in ("keras", "torch", "optax"))
    presets = tl.adagrad.conventions
    of_keras = defaults(keras.optimizers.Adagrad)
    for name in ("learning_rate", "initial_accumulator_value", "epsilon"):
        assert presets["keras"][name] == of_keras[name]
    of_torch = defaults(torch.optim.Adagrad)
    assert presets["torch"]["learning_rate"] == of_torch["lr"]
    assert presets["torch"]["epsilon"] == of_torch["eps"]
    assert presets["torch"]["initial_accumulator_value"] == of_torch["initial_accumulator_value"]
    of_optax = defaults(optax.adagrad)
    assert presets["optax"]["epsilon"] == of_optax["eps"]
    assert presets["optax"]["initial_accumulator_value"] == of_optax["initial_accumulator_value"]


def defaults(factory):
    return {name: p.default for name, p in inspect.signature(factory).parameters.items()}
