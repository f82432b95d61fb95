"""Random numbers by key: published outputs, distributions, and independence of the batch."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from trainlib.core.random import (
    beta,
    elementwise,
    example_keys,
    fold_in,
    integers,
    normal,
    splitmix64,
    uniform,
)

N = 20_000
KEY = example_keys(3, 1, tf.range(N))


def test_splitmix64_has_the_outputs_of_its_authors():
    # The first outputs of the C program at https://prng.di.unimi.it/splitmix64.c, state 1234567.
    state = tf.constant(1234567, tf.uint64)
    outputs = splitmix64(state, tf.constant([0, 1, 2, 3, 4], tf.uint64)).numpy().tolist()
    assert outputs == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]


def correlation(a, b):
    return abs(np.corrcoef(a, b)[0, 1])


def test_seed_epoch_and_example_each_change_a_key():
    keys = [example_keys(*ids[:2], ids[2:]) for ids in np.ndindex(2, 2, 2)]
    assert len({str(key.numpy()) for key in keys}) == 8
    first, second = KEY.numpy().T
    assert len({*first, *second}) == 2 * N


def test_neighbouring_keys_are_independent():
    keys = KEY, fold_in(KEY, 1), example_keys(3, 2, tf.range(N))
    u = [uniform(key, 1)[:, 0].numpy() for key in keys]
    assert max(correlation(u[0], u[1]), correlation(u[0], u[2])) < 0.03
    assert correlation(u[0][1:], u[0][:-1]) < 0.03


def distance(sample, cdf):
    """The statistic of Kolmogorov and Smirnov: the largest distance of the two functions."""
    x = np.sort(np.ravel(sample))
    return np.max(np.abs(cdf(x) - (np.arange(x.size) + 0.5) / x.size))


def test_uniform_numbers_are_uniform():
    u = uniform(KEY, 3, -2.0, 2.0).numpy()
    assert u.shape == (N, 3) and u.min() >= -2 and u.max() < 2
    assert distance(u, lambda x: (x + 2) / 4) < 0.01
    assert correlation(u[:, 0], u[:, 1]) < 0.03


def test_normal_numbers_are_normal():
    z = normal(KEY, 5).numpy()
    assert z.shape == (N, 5) and z.dtype == "float32"
    assert distance(z, lambda x: 0.5 * tf.math.erfc(-x / np.sqrt(2)).numpy()) < 0.01
    assert max(correlation(z[:, 0], z[:, k]) for k in (1, 2, 3, 4)) < 0.03


@pytest.mark.parametrize("alpha", [0.2, 1.0, 4.0])
def test_beta_numbers_are_beta(alpha):
    x = beta(KEY, alpha).numpy()
    a = np.float64(alpha)
    assert distance(x, lambda x: tf.math.betainc(a, a, x).numpy()) < 0.015


def test_integers_are_uniform():
    counts = np.bincount(integers(KEY, 7).numpy(), minlength=7)
    assert counts.size == 7 and np.all(np.abs(counts / N - 1 / 7) < 0.01)


@pytest.mark.parametrize(
    "draw", [lambda k: normal(k, 3), lambda k: beta(k, 0.3), lambda k: uniform(k, 2)]
)
def test_numbers_of_an_example_are_the_same_in_any_batch(draw):
    whole = draw(KEY[:101]).numpy()
    for part in (slice(0, 3), slice(7, 36), slice(100, 101)):
        np.testing.assert_array_equal(whole[part], draw(KEY[part]).numpy())


def test_a_function_of_each_value_has_the_same_bits_at_the_end_of_a_tensor():
    x = tf.random.stateless_uniform([1000], [1, 2])
    last = elementwise(tf.math.log, x)[-7:]
    np.testing.assert_array_equal(last, elementwise(tf.math.log, x[-7:]))
