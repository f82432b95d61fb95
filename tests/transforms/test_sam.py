"""`sam`."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from helpers.exact import B1, B2

import trainlib as tl
from trainlib.verify.compare import difference
from trainlib.verify.trajectory import RUNS, run_optimizer


@pytest.mark.parametrize("run", RUNS)
def test_sam_agrees_with_optax(problem, run_optax, run):
    ours = run_optimizer(
        lambda learning_rate: tl.sam(tl.adam(0.01, B1, B2, convention="optax"), rho=0.1),
        problem,
        run,
    )

    def make(optax):
        climber = optax.chain(optax.contrib.normalize(), optax.sgd(0.1))
        return optax.contrib.sam(optax.adam(0.01, B1, B2), climber, sync_period=2)

    assert difference(ours, run_optax(make, problem)).error < 1e-12


def test_sam_follows_the_algorithm_of_the_paper():
    w, rho, eta = np.array([1.0, -2.0]), 0.05, 0.1
    tx = tl.sam(tl.sgd(eta), rho)
    params = {"w": tf.constant(w)}
    state = tx.init(params)
    for _ in range(5):
        for _ in range(2):
            grads = {"w": params["w"] ** 3}
            updates, state = tx.update(grads, state, params)
            params = tl.apply_updates(params, updates)
        g = w**3
        w = w - eta * (w + rho * g / np.linalg.norm(g)) ** 3
        np.testing.assert_allclose(params["w"], w, rtol=1e-13)
    assert state.step == 10 and state.inner.step == 5


def test_sam_does_not_move_where_the_gradient_is_0_or_none():
    params = {"a": tf.constant([1.0, 2.0]), "b": tf.constant(1.0)}
    tx = tl.sam(tl.sgd(0.1))
    state = tx.init(params)
    for _ in range(2):
        updates, state = tx.update({"a": tf.zeros([2]), "b": None}, state, params)
        np.testing.assert_array_equal(updates["a"], [0, 0])
        assert updates["b"] is None


def test_sam_returns_to_the_center_where_the_optimizer_does_not_move():
    params = {"a": tf.constant(1.0), "b": tf.constant(1.0)}
    tx = tl.sam(tl.freeze(tl.sgd(0.1), lambda path: path == "b"))
    state = tx.init(params)
    for _ in range(2):
        updates, state = tx.update({"a": tf.constant(1.0), "b": tf.constant(1.0)}, state, params)
        params = tl.apply_updates(params, updates)
    np.testing.assert_allclose(params["b"], 1.0, rtol=1e-7)
    np.testing.assert_allclose(params["a"], 0.9, rtol=1e-6)


@pytest.mark.parametrize(
    ("at", "updates_made"), [(None, [0, 0, 0, 1]), (0, [0, 0, 0, 1]), (1, [0, 1, 1, 1])]
)
def test_the_end_of_an_epoch_closes_a_window_in_sam_on_even_calls_only(at, updates_made):
    tx = tl.sam(tl.accumulate(tl.sgd(1.0), every_k=2), rho=0.0)
    w, found = tf.constant(0.0), []
    state = tx.init(w)
    for call in range(4):
        updates, state = tx.update(tf.constant(-1.0), state, w, last=call == at)
        w = tl.apply_updates(w, updates)
        found.append(float(w))
    assert found == updates_made


def test_arguments_out_of_range_are_refused():
    with pytest.raises(ValueError, match="rho must be at least 0, got -1"):
        tl.sam(tl.sgd(), rho=-1.0)
    with pytest.raises(TypeError, match="optimizer of sam must be an Optimizer"):
        tl.sam(tl.sgd)


def test_low_precision_parameters_return_to_the_center():
    params = {"w": tf.constant([1.0, 3.0], tf.bfloat16)}
    start, tx = params, tl.sam(tl.sgd(0.0), rho=0.5)
    state = tx.init(params)
    for _ in range(2):
        updates, state = tx.update({"w": params["w"]}, state, params)
        params = tl.apply_updates(params, updates)
    assert tf.reduce_all(params["w"] == start["w"])
