"""`ema`: the average of the parameters over the updates."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from helpers.exact import B1, B2

import trainlib as tl
from trainlib.verify.compare import difference
from trainlib.verify.peers import run_peer
from trainlib.verify.trajectory import RUNS, run_optimizer


def average(name):
    """Return the name of the average of a parameter."""
    return f"average of {name}"


def run_averaged(problem, tx, run="graph"):
    """Return the averages and the parameters after each step."""

    def both(params, state):
        averages = tl.averaged_params(state, params)
        return params | {average(name): w for name, w in averages.items()}

    path = run_optimizer(lambda learning_rate: tx, problem, run, both)
    averages = [{name: row[average(name)] for name in problem.start} for row in path]
    return averages, [{name: row[name] for name in problem.start} for row in path]


def test_debiased_average_is_the_weighted_mean(problem):
    averages, params = run_averaged(problem, tl.chain(tl.adam(0.01), tl.ema(0.9)))
    for t in (1, 2, len(params)):
        weights = 0.9 ** (t - np.arange(1, t + 1))
        for name in ("scalar", "wide"):
            rows = np.stack([row[name] for row in params[:t]])
            mean = np.tensordot(weights, rows, 1) / weights.sum()
            np.testing.assert_allclose(averages[t - 1][name], mean, rtol=1e-12)


@pytest.mark.parametrize("frequency", [pytest.param(None, marks=pytest.mark.soak), 3])
def test_the_keras_form_agrees_with_keras(problem, frequency):
    options = {
        "beta_1": B1,
        "beta_2": B2,
        "use_ema": True,
        "ema_momentum": 0.9,
        "ema_overwrite_frequency": frequency,
    }

    def both(optimizer, variables):
        averages = optimizer._model_variables_moving_average
        return variables | dict(zip(map(average, variables), averages, strict=True))

    tx = tl.chain(
        tl.adam(2.0**-6, B1, B2), tl.ema(0.9, debias=False, overwrite_frequency=frequency)
    )
    averages, params = run_averaged(problem, tx)
    theirs = run_peer("keras", "Adam", options, problem, both)
    ours = [
        w | {average(name): m for name, m in row.items()}
        for w, row in zip(params, averages, strict=True)
    ]
    assert difference(ours, theirs).error < 1e-12


def test_the_first_average_is_the_first_parameter(problem):
    for debias in (True, False):
        averages, params = run_averaged(problem, tl.chain(tl.sgd(0.1), tl.ema(0.99, debias)))
        for name in averages[0]:
            np.testing.assert_array_equal(averages[0][name], params[0][name])


@pytest.mark.parametrize("run", RUNS)
def test_overwriting_makes_the_parameters_their_average(problem, run):
    tx = tl.chain(tl.sgd(0.1), tl.ema(0.9, overwrite_frequency=5))
    averages, params = run_averaged(problem, tx, run)
    assert difference(averages[4::5], params[4::5]).error < 1e-15
    assert difference(averages[3::5], params[3::5]).error > 1e-3


def test_the_average_is_of_the_constrained_parameters():
    params = {"w": tf.constant([1.0, -1.0])}
    tx = tl.chain(tl.sgd(1.0), tl.constrain(tf.nn.relu), tl.ema(0.5))
    updates, state = tx.update({"w": tf.constant([2.0, -3.0])}, tx.init(params), params)
    np.testing.assert_array_equal(tl.apply_updates(params, updates)["w"], [0, 2])
    np.testing.assert_array_equal(tl.averaged_params(state, params)["w"], [0, 2])


def test_before_the_first_update_the_average_is_the_parameters():
    params = {"a": tf.constant([1.0, 2.0], tf.bfloat16), "b": tf.constant(3.0, tf.float64)}
    state = tl.ema().init(params)
    assert state.average["a"].dtype == tf.float32
    averaged = tl.averaged_params(state, params)
    assert averaged["a"].dtype == tf.bfloat16
    tf.nest.map_structure(np.testing.assert_array_equal, averaged, params)


def test_a_parameter_without_gradient_is_averaged_too():
    params = {"a": tf.constant(1.0), "b": tf.constant(1.0)}
    tx = tl.chain(tl.sgd(1.0), tl.ema(0.5))
    state = tx.init(params)
    updates, state = tx.update({"a": tf.constant(1.0), "b": None}, state, params)
    assert updates["b"] is None
    assert tl.averaged_params(state, params)["b"] == 1


def test_frozen_parameters_are_returned_unchanged():
    params = {"a": tf.constant(1.0), "b": {"c": tf.constant(1.0)}}
    tx = tl.freeze(tl.chain(tl.sgd(1.0), tl.ema(0.5)), lambda path: path == "b/c")
    state = tx.init(params)
    _, state = tx.update({"a": tf.constant(1.0), "b": {"c": tf.constant(1.0)}}, state, params)
    assert tl.averaged_params(state, params)["a"] == 0
    assert tl.averaged_params(state, params)["b"]["c"] == 1


def test_averages_in_groups_are_found_and_duplicates_refused():
    params = {"a": tf.constant(1.0), "b": tf.constant(1.0)}
    averaged = tl.chain(tl.sgd(1.0), tl.ema(0.5))
    tx = tl.accumulate(tl.partition({"a": averaged, "b": averaged}, lambda path: path), 1)
    _, state = tx.update({"a": tf.constant(1.0), "b": tf.constant(2.0)}, tx.init(params), params)
    assert {k: float(x) for k, x in tl.averaged_params(state, params).items()} == {"a": 0, "b": -1}
    with pytest.raises(ValueError, match="the state has no average"):
        tl.averaged_params(tl.adam().init(params), params)
    with pytest.raises(ValueError, match="two averages of 'a'"):
        tl.averaged_params(tl.chain(tl.ema(0.9), tl.ema(0.99)).init(params), params)


def test_arguments_out_of_range_are_refused():
    with pytest.raises(ValueError, match="decay must be at least 0 and below 1, got 1"):
        tl.ema(1.0)
    with pytest.raises(ValueError, match="overwrite_frequency must be at least 1, got 0"):
        tl.ema(overwrite_frequency=0)
