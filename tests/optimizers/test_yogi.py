"""Yogi: the paper's form, the bounded change of v, and where the means start."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from helpers.descents import numpy_descent

import trainlib as tl
from trainlib.verify.compare import difference
from trainlib.verify.problem import make_problem
from trainlib.verify.trajectory import run_optimizer


def test_paper_form_is_algorithm_2():
    def algorithm_2(g, w, m, v, rate, t):
        m = 0.9 * m + 0.1 * g
        v = v - 0.001 * np.sign(v - g**2) * g**2
        return w - rate * m / (np.sqrt(v) + 1e-3), m, v

    problem = make_problem(40, shapes={"scalar": (), "wide": (3, 6)})
    ours = run_optimizer(lambda **options: tl.yogi(**options, convention="paper"), problem)
    assert difference(ours, numpy_descent(problem, algorithm_2)).error < 1e-12


def test_v_rises_and_falls_by_a_fraction_of_the_square():
    tx = tl.yogi(beta_2=0.75, initial_accumulator_value=16.0)
    w = tf.constant([1.0, 1.0, 1.0, 1.0])
    _, state = tx.update(tf.constant([2.0, 8.0, 0.0, 4.0]), tx.init(w), w)
    np.testing.assert_array_equal(state.v, [16 - 1, 16 + 16, 16, 16])
    assert type(state)._fields == ("step", "m", "v")


def test_weights_without_gradient_move_from_optax_start_only():
    w, zero = tf.constant([1.0]), tf.zeros([1])
    for options, moves in (({}, True), ({"initial_mean_value": 0.0}, False)):
        tx = tl.yogi(**options)
        u, _ = tx.update(zero, tx.init(w), w)
        assert bool(u[0] != 0) == moves


def test_invalid_options_are_refused_by_name():
    with pytest.raises(ValueError, match="initial_accumulator_value must be at least 0"):
        tl.yogi(initial_accumulator_value=-1.0)
    with pytest.raises(ValueError, match="unknown bias_form 'fold': did you mean 'folded'"):
        tl.yogi(bias_form="fold")
