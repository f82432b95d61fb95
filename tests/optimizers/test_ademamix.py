"""AdEMAMix: the paper's schedules, and Adam at alpha 0."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import trainlib as tl


def test_without_the_slow_mean_it_is_adam():
    w, g = tf.constant([1.0, -2.0], tf.float64), tf.constant([0.5, 3.0], tf.float64)
    plain, mixed = tl.adam(convention="optax"), tl.ademamix(alpha=0.0)
    s, t = plain.init(w), mixed.init(w)
    assert type(t)._fields == ("step", "m1", "m2", "v")
    for _ in range(5):
        u, s = plain.update(g, s, w)
        v, t = mixed.update(g, t, w)
        np.testing.assert_allclose(v, u, rtol=1e-14)


def test_alpha_rises_linearly_and_stays():
    alpha = tl.ademamix_alpha(8.0, warmup_steps=4)
    assert [float(alpha(tf.constant(k, tf.int64))) for k in range(6)] == [2, 4, 6, 8, 8, 8]


def test_half_life_of_beta_3_rises_linearly_and_stays():
    beta_3 = tl.ademamix_beta_3(0.9999, warmup_steps=4, beta_1=0.9)
    decays = np.array([float(beta_3(tf.constant(k, tf.int64))) for k in range(6)])
    half_lives = np.log(0.5) / np.log(decays)
    first, last = np.log(0.5) / np.log([0.9, 0.9999])
    done = np.minimum(np.arange(1, 7) / 4, 1)
    np.testing.assert_allclose(half_lives, first + done * (last - first), rtol=1e-9)


def test_schedules_follow_the_step():
    tx = tl.ademamix(alpha=tl.ademamix_alpha(8.0, 4), beta_3=lambda k: tf.cast(k, tf.float64) / 2)
    w = tf.constant([1.0], tf.float64)
    _, state = tx.update(tf.constant([4.0], tf.float64), tx.init(w), w)
    np.testing.assert_array_equal(state.m2, [4.0])
    _, state = tx.update(tf.constant([0.0], tf.float64), state, w)
    np.testing.assert_array_equal(state.m2, [2.0])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: tl.ademamix(beta_3=1.0), "beta_3 must be at least 0 and below 1"),
        (lambda: tl.ademamix(alpha=-1.0), "alpha must be at least 0"),
        (lambda: tl.ademamix_beta_3(0.5, 10), "beta_3 must be at least 0.9 and below 1"),
        (lambda: tl.ademamix_alpha(5.0, 0), "warmup_steps must be at least 1"),
    ],
)
def test_invalid_options_are_refused_by_name(call, message):
    with pytest.raises(ValueError, match=message):
        call()
