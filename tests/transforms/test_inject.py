"""`inject_hyperparams` and `set_hyperparams`."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import trainlib as tl
from trainlib.verify.compare import difference
from trainlib.verify.trajectory import RUNS, run_optimizer

B1, B2 = 0.875, 1 - 2.0**-10
"""Decay rates that are exact in float32, to which Optax rounds them."""

PARAMS = {"w": tf.constant([1.0, 2.0]), "b": tf.constant(0.5)}
GRADS = {"w": tf.constant([0.5, -0.25]), "b": tf.constant(1.0)}


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("convention", ["keras", "torch"])
def test_injected_optimizers_compute_what_plain_ones_do(problem, run, convention):
    options = {"beta_1": 0.8, "weight_decay": 0.1, "convention": convention}
    plain = run_optimizer(lambda learning_rate: tl.adamw(learning_rate, **options), problem, run)
    injected = run_optimizer(
        lambda learning_rate: tl.inject_hyperparams(tl.adamw)(learning_rate, **options),
        problem,
        run,
    )
    assert difference(injected, plain).error < 1e-14


def test_it_agrees_with_optax(problem, run_optax):
    ours = run_optimizer(
        lambda learning_rate: tl.inject_hyperparams(tl.adam)(
            lambda k: 0.01 / (1 + tf.cast(k, tf.float64)), B1, B2, convention="optax"
        ),
        problem,
    )
    theirs = run_optax(
        lambda optax: optax.inject_hyperparams(optax.adam)(
            learning_rate=lambda k: 0.01 / (1 + k.astype("float64")), b1=B1, b2=B2
        ),
        problem,
    )
    assert difference(ours, theirs).error < 1e-12


def test_hyperparameters_given_as_numbers_are_held_in_the_state():
    tx = tl.inject_hyperparams(tl.adamw)(
        beta_1=0.8, weight_decay=0, amsgrad=True, decay_mask=lambda path: path == "w"
    )
    state = tx.init(PARAMS)
    assert {k: (float(x), x.dtype) for k, x in state.hyperparams.items()} == {
        "learning_rate": (0.001, tf.float64),
        "beta_1": (0.8, tf.float64),
        "weight_decay": (0.0, tf.float64),
    }
    assert state.inner.v_max


def test_the_default_learning_rate_is_that_of_the_convention():
    for convention in ("keras", "torch"):
        state = tl.inject_hyperparams(tl.adagrad)(convention=convention).init(PARAMS)
        expected = tl.adagrad.conventions[convention]["learning_rate"]
        assert float(state.hyperparams["learning_rate"]) == expected


def test_schedules_are_recorded_as_they_were_used():
    tx = tl.inject_hyperparams(tl.sgd)(lambda k: 1 / tf.cast(k + 1, tf.float64), momentum=0.5)
    state, rates = tx.init(PARAMS), []
    for _ in range(3):
        _, state = tx.update(GRADS, state, PARAMS)
        rates.append(float(state.hyperparams["learning_rate"]))
    assert rates == [1, 1 / 2, 1 / 3] and state.step == 3
    assert float(state.hyperparams["momentum"]) == 0.5


@pytest.mark.parametrize("jit", [False, True])
def test_changing_a_hyperparameter_retraces_nothing(jit):
    tx = tl.chain(tl.clip_by_norm(9.0), tl.inject_hyperparams(tl.sgd)(0.1, momentum=0.5))
    traces = []

    @tf.function(jit_compile=jit)
    def update(grads, state, params):
        traces.append(1)
        return tx.update(grads, state, params)

    state = tx.init(PARAMS)
    for rate in (0.1, 0.2, 0.4):
        state = tl.set_hyperparams(state, learning_rate=rate, momentum=0.0)
        updates, state = update(GRADS, state, PARAMS)
        np.testing.assert_allclose(updates["w"], -rate * GRADS["w"], rtol=1e-6)
    state = (
        state[0],
        state[1]._replace(
            hyperparams=dict(state[1].hyperparams, learning_rate=tf.constant(0.5, tf.float64))
        ),
    )
    updates, _ = update(GRADS, state, PARAMS)
    np.testing.assert_allclose(updates["w"], -0.5 * GRADS["w"], rtol=1e-6)
    assert len(traces) == 1


def test_setting_an_unknown_hyperparameter_is_refused():
    state = tl.chain(tl.inject_hyperparams(tl.adam)(0.1), tl.scale(1.0)).init(PARAMS)
    with pytest.raises(ValueError, match="'learning_rte': did you mean 'learning_rate'"):
        tl.set_hyperparams(state, learning_rte=0.1)
    with pytest.raises(ValueError, match="unknown hyperparameter of this state 'beta_1'"):
        tl.set_hyperparams(state, beta_1=0.1)
    with pytest.raises(TypeError, match="learning_rate must be a number"):
        tl.set_hyperparams(state, learning_rate="0.1")


def test_setting_reaches_every_group():
    group = tl.inject_hyperparams(tl.sgd)(0.1)
    tx = tl.apply_if_finite(tl.partition({"w": group, "b": group}, lambda path: path))
    state = tl.set_hyperparams(tx.init(PARAMS), learning_rate=1.0)
    updates, _ = tx.update(GRADS, state, PARAMS)
    tf.nest.map_structure(lambda u, g: np.testing.assert_array_equal(u, -g), updates, GRADS)


def test_arguments_are_checked_when_they_are_given():
    with pytest.raises(ValueError, match="beta_1 must be at least 0 and below 1, got 2"):
        tl.inject_hyperparams(tl.adam)(beta_1=2.0)
    with pytest.raises(ValueError, match="unknown convention of adam 'kears'"):
        tl.inject_hyperparams(tl.adam)(convention="kears")
    with pytest.raises(TypeError, match="unexpected keyword"):
        tl.inject_hyperparams(tl.adam)(beta1=0.9)


def test_undeclared_parameters_are_held_by_the_type_of_their_arguments():
    def descent(rate, times: int = 2, power=1, name="descent", reverse=False, offset=None):
        return tl.chain(*[tl.scale(-1.0)] * (times - 1), tl.scale(rate))

    options = {"times": 2, "power": np.float32(1.0), "name": "mine", "reverse": True}
    tx = tl.inject_hyperparams(descent)(0.5, offset=tf.constant(1), **options)
    state = tx.init(PARAMS)
    assert list(state.hyperparams) == ["rate", "power"]
    updates, _ = tx.update(GRADS, state, PARAMS)
    np.testing.assert_array_equal(updates["b"], -0.5)


def test_a_function_given_for_an_undeclared_parameter_is_a_schedule():
    def descent(rate):
        return tl.sgd(rate)

    tx = tl.inject_hyperparams(descent)(lambda step: 1.0 + tf.cast(step, tf.float64))
    state = tx.init(PARAMS)
    for expected in (-1.0, -2.0):
        updates, state = tx.update(GRADS, state, PARAMS)
        np.testing.assert_array_equal(updates["b"], expected)


def test_parameters_of_a_declared_name_follow_the_declaration():
    def descent(learning_rate=1, decay_mask=None, ns_steps=2.0, weight_decay=0.0):
        assert callable(decay_mask)
        return tl.scale(-learning_rate)

    tx = tl.inject_hyperparams(descent)(decay_mask=lambda path: True, ns_steps=3.0, weight_decay=1)
    state = tx.init(PARAMS)
    assert {name: float(x) for name, x in state.hyperparams.items()} == {
        "learning_rate": 1.0,
        "weight_decay": 1.0,
    }


def test_transforms_are_injected_like_optimizers():
    tx = tl.inject_hyperparams(tl.clip_by_value)(clipvalue=0.1)
    state = tl.set_hyperparams(tx.init(PARAMS), clipvalue=0.25)
    updates, _ = tx.update(GRADS, state, PARAMS)
    np.testing.assert_array_equal(updates["b"], 0.25)
