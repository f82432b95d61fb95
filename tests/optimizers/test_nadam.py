"""Nadam, where the comparison with peers does not cover it: the paper's form, rounding."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from helpers.descents import numpy_descent

import trainlib as tl
from trainlib.verify.compare import difference
from trainlib.verify.peers import run_peer
from trainlib.verify.problem import make_problem
from trainlib.verify.trajectory import run_optimizer


def dozat(problem, nu=0.999, epsilon=1e-8):
    """Dozat 2016, Algorithm 2, to the letter: mu_t in m_t, and nu in n_hat."""
    mu = [0.9 * (1 - 0.5 * 0.96 ** (0.004 * t)) for t in range(len(problem.noise) + 2)]

    def algorithm_2(g, w, m, n, rate, t):
        m = mu[t] * m + (1 - mu[t]) * g
        n = nu * n + (1 - nu) * g**2
        m_hat = mu[t + 1] * m / (1 - np.prod(mu[1 : t + 2]))
        m_hat = m_hat + (1 - mu[t]) * g / (1 - np.prod(mu[1 : t + 1]))
        n_hat = nu * n / (1 - nu**t)
        return w - rate / (np.sqrt(n_hat) + epsilon) * m_hat, m, n

    return numpy_descent(problem, algorithm_2)


def test_paper_form_is_algorithm_2_with_scaled_rate_and_epsilon():
    problem = make_problem(40, shapes={"scalar": (), "wide": (3, 6)})
    root = np.sqrt(0.999)

    def ours(learning_rate):
        return tl.nadam(lambda k: learning_rate(k) / root, epsilon=1e-8 / root, convention="paper")

    assert difference(run_optimizer(ours, problem), dozat(problem)).error < 1e-13


def test_momentum_warms_up_and_its_product_is_kept():
    tx = tl.nadam(beta_1=0.5, psi=2.0)
    w = tf.constant([1.0])
    state = tx.init(w)
    assert type(state)._fields == ("step", "P", "m", "v")
    for _ in range(2):
        _, state = tx.update(w, state, w)
    mu = [0.5 * (1 - 0.96 ** (2 * t) / 2) for t in (1, 2)]
    assert state.P.dtype == tf.float64
    np.testing.assert_allclose(state.P, mu[0] * mu[1], rtol=1e-15)


def test_constant_momentum_does_not_read_psi():
    w, g = tf.constant([1.0, 2.0]), tf.constant([0.5, -3.0])
    slow, fast = (tl.nadam(psi=psi, convention="optax") for psi in (0.0, 1.0))
    np.testing.assert_array_equal(
        slow.update(g, slow.init(w), w)[0], fast.update(g, fast.init(w), w)[0]
    )


def test_keras_itself_rounds_a_constant():
    problem = make_problem(30, shapes={"scalar": (), "wide": (3, 6)})
    theirs = run_peer("keras", "Nadam", {"beta_1": 0.875, "beta_2": 1 - 2**-10}, problem)
    ours = run_optimizer(lambda **o: tl.nadam(**o, beta_1=0.875, beta_2=1 - 2**-10), problem)
    assert 1e-11 < difference(ours, theirs).error < 1e-6


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"psi": -1.0}, "psi must be at least 0"),
        ({"mu_schedule": "dozatt"}, "unknown mu_schedule 'dozatt': did you mean 'dozat'"),
        ({"mean_decay": "beta"}, "unknown mean_decay 'beta'"),
        ({"epsilon": 0.0}, "epsilon and eps_root are both 0"),
    ],
)
def test_invalid_options_are_refused_by_name(options, message):
    with pytest.raises(ValueError, match=message):
        tl.nadam(**options)
