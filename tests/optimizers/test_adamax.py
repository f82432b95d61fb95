"""Adamax, where the comparison with peers does not cover it: the paper's form, messages."""

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
    def algorithm_2(g, w, m, u, rate, t):
        m = 0.9 * m + 0.1 * g
        u = np.maximum(0.999 * u, np.abs(g))
        ratio = np.divide(m, u, out=np.zeros_like(g), where=u > 0)
        return w - rate / (1 - 0.9**t) * ratio, m, u

    problem = make_problem(40, shapes={"scalar": (), "wide": (3, 6)})
    ours = run_optimizer(lambda **options: tl.adamax(**options, convention="paper"), problem)
    assert difference(ours, numpy_descent(problem, algorithm_2)).error < 1e-13


@pytest.mark.parametrize("convention", ["keras", "torch", "optax", "paper"])
def test_weights_stay_while_all_gradients_were_zero(convention):
    tx = tl.adamax(convention=convention)
    w = tf.constant([1.0, 2.0])
    state = tx.init(w)
    for _ in range(2):
        u, state = tx.update(tf.zeros([2]), state, w)
        np.testing.assert_array_equal(u, [0.0, 0.0])
    assert type(state)._fields == ("step", "m", "u")


@pytest.mark.parametrize(("eps_at", "expected"), [("denominator", 0.0), ("in_max", 0.25)])
def test_epsilon_is_in_the_state_in_one_form_only(eps_at, expected):
    tx = tl.adamax(epsilon=0.25, eps_at=eps_at)
    w = tf.constant([1.0])
    _, state = tx.update(tf.constant([0.0]), tx.init(w), w)
    np.testing.assert_array_equal(state.u, [expected])


def test_epsilon_must_be_above_zero_unless_there_is_none():
    with pytest.raises(ValueError, match="epsilon must be above 0, got 0.0"):
        tl.adamax(epsilon=0.0)
    tl.adamax(epsilon=0.0, eps_at="none")
