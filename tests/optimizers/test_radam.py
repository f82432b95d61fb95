"""RAdam: where the step is rectified, and the numbers around that."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import trainlib as tl


def path(count, dtype="float64", **options):
    """The updates for a gradient that changes sign, and their m_t / (1 - beta_1^t)."""
    tx = tl.radam(1.0, 0.5, **options)
    w = tf.constant([1.0], dtype)
    state, updates, means = tx.init(w), [], []
    for t in range(1, count + 1):
        u, state = tx.update(tf.constant([(-1.0) ** t * t], dtype), state, w)
        updates.append(float(u[0]))
        means.append(float(state.m[0]) / (1 - 0.5**t))
    return np.array(updates), np.array(means)


def rho(t, beta_2=0.999):
    return 2 / (1 - beta_2) - 1 - 2 * t * beta_2**t / (1 - beta_2**t)


@pytest.mark.parametrize(("convention", "first"), [("optax", 6), ("torch", 6), ("paper", 5)])
def test_steps_up_to_the_threshold_are_those_of_momentum(convention, first):
    threshold = 4 if convention == "paper" else 5
    assert rho(first - 1) <= threshold < rho(first)
    updates, means = path(8, convention=convention)
    plain = np.isclose(updates, -means, rtol=1e-12)
    np.testing.assert_array_equal(plain, np.arange(1, 9) < first)


@pytest.mark.parametrize("beta_2", [0.0, 1 / 3, 0.5, 0.6])
def test_short_memory_is_never_rectified(beta_2):
    updates, means = path(60, beta_2=beta_2, threshold=4.0)
    np.testing.assert_allclose(updates, -means, rtol=1e-12)


def test_rectified_step_of_the_paper():
    t, beta_2 = 7, 0.999
    updates, means = path(t, convention="paper", epsilon=1e-300)
    v = (1 - beta_2) * sum(beta_2 ** (t - i) * i**2 for i in range(1, t + 1))
    rho_inf, rho_t = 2 / (1 - beta_2) - 1, rho(t)
    r = np.sqrt((rho_t - 4) * (rho_t - 2) * rho_inf / ((rho_inf - 4) * (rho_inf - 2) * rho_t))
    expected = -r * means[-1] * np.sqrt((1 - beta_2**t) / v)
    np.testing.assert_allclose(updates[-1], expected, rtol=1e-9)


def test_float32_loses_nothing_in_rho():
    narrow, _ = path(30, "float32")
    wide, _ = path(30, "float64")
    np.testing.assert_allclose(narrow[5:], wide[5:], rtol=5e-5)


def test_zero_gradients_leave_the_weights():
    tx = tl.radam(convention="paper")
    w = tf.constant([1.0])
    state = tx.init(w)
    for _ in range(8):
        u, state = tx.update(tf.zeros([1]), state, w)
        np.testing.assert_array_equal(u, [0.0])
    assert type(state)._fields == ("step", "m", "v")


def test_invalid_options_are_refused_by_name():
    with pytest.raises(ValueError, match="threshold must be at least 4, got 3.0"):
        tl.radam(threshold=3.0)
    with pytest.raises(ValueError, match="unknown bias_form 'none'"):
        tl.radam(bias_form="none")
