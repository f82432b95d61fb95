"""`nesterov_point`: the momentum of the textbooks equals that of Keras in other variables."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import tensorflow as tf
from helpers.executions import EXECUTIONS

import trainlib as tl
from trainlib.optimizers.sgd import SgdState
from trainlib.verify.compare import difference
from trainlib.verify.peers import run_peer
from trainlib.verify.problem import make_problem

MU = 0.875
STEPS = 40
TWO = {"vector": (5,), "wide": (3, 6)}


@functools.cache
def problem_of(*, constant):
    """Return the problem at a constant learning rate, or at a changing one."""
    problem = make_problem(STEPS, shapes=TWO)
    rates = np.full_like(problem.rates, 2.0**-6) if constant else problem.rates
    return problem._replace(rates=rates)


@functools.cache
def keras_path(*, constant):
    """Return the parameters of Keras's SGD after each step."""
    options = {"momentum": MU, "nesterov": True}
    return run_peer("keras", "SGD", options, problem_of(constant=constant))


def textbook_path(problem, execution):
    """The textbooks' parameters and look-ahead points after each step."""
    rates = tf.constant(problem.rates)
    tx = tl.sgd(lambda k: tf.gather(rates, k), momentum=MU, convention="textbook")

    def step(params, state, noise):
        ahead = tl.nesterov_point(params, state, MU)
        grads = {k: problem.curvature[k] * w + noise[k] for k, w in ahead.items()}
        updates, state = tx.update(grads, state, params)
        return tl.apply_updates(params, updates), state

    step = EXECUTIONS[execution](step)
    params = {k: tf.constant(w) for k, w in problem.start.items()}
    state, path = tx.init(params), []
    for row in problem.noise:
        params, state = step(params, state, {k: tf.constant(z) for k, z in row.items()})
        path.append((params, tl.nesterov_point(params, state, MU)))
    return path


@pytest.mark.parametrize("execution", EXECUTIONS)
@pytest.mark.parametrize(
    "constant",
    [
        pytest.param(True, marks=pytest.mark.soak, id="constant rate"),
        pytest.param(False, id="changing rate"),
    ],
)
def test_the_points_of_the_textbooks_are_the_parameters_of_keras(constant, execution):
    path = textbook_path(problem_of(constant=constant), execution)
    ours = [{k: w.numpy() for k, w in ahead.items()} for _, ahead in path]
    assert difference(ours, keras_path(constant=constant)).error <= 1e-12


def test_a_negative_momentum_recovers_the_parameters_of_the_textbooks():
    """theta = w_keras - mu v, while the rate changes."""
    problem = problem_of(constant=False)

    def theta(optimizer, variables):
        v = [m.value for m in optimizer.momentums]
        step = tf.constant(len(v), tf.int64)
        w = {k: x.value for k, x in variables.items()}
        return tl.nesterov_point(w, SgdState(step, dict(zip(w, v, strict=True))), -MU)

    options = {"momentum": MU, "nesterov": True}
    keras = run_peer("keras", "SGD", options, problem, read=theta)
    ours = [
        {k: w.numpy() for k, w in params.items()} for params, _ in textbook_path(problem, "graph")
    ]
    assert difference(ours, keras).error <= 1e-12


def test_under_lr_out_the_point_takes_the_next_learning_rate():
    params = {"w": tf.constant([1.0, -2.0], tf.float64)}
    grads = {"w": tf.constant([0.5, 0.25], tf.float64)}
    points = []
    for velocity, rate in (("lr_in", 1.0), ("lr_out", 0.125)):
        tx = tl.sgd(0.125, momentum=MU, velocity=velocity)
        updates, state = tx.update(grads, tx.init(params), params)
        points.append(tl.nesterov_point(tl.apply_updates(params, updates), state, MU, rate)["w"])
    np.testing.assert_array_equal(*points)


def test_the_point_has_the_dtype_of_the_parameters():
    params = {"w": tf.ones([2], tf.bfloat16)}
    tx = tl.sgd(0.5, momentum=0.5)
    _, state = tx.update(params, tx.init(params), params)
    ahead = tf.function(tl.nesterov_point)(params, state, tf.constant(0.5))
    assert ahead["w"].dtype == tf.bfloat16
    np.testing.assert_array_equal(tf.cast(ahead["w"], tf.float32), [0.75, 0.75])


def test_states_without_a_velocity_are_refused():
    params = {"w": tf.ones([2])}
    point = functools.partial(tl.nesterov_point, params)
    with pytest.raises(ValueError, match="needs a velocity, and sgd without momentum keeps none"):
        point(tl.sgd().init(params), MU)
    with pytest.raises(TypeError, match="needs a state of sgd, got AdamState"):
        point(tl.adam().init(params), MU)
    with pytest.raises(ValueError, match="momentum must be at least -1 and at most 1, got 1.5"):
        point(tl.sgd(momentum=MU).init(params), 1.5)
