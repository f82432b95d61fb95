"""`scale`, `scale_by_schedule`, `centralize` and `add_noise`."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from helpers.exact import B1, B2

import trainlib as tl
from trainlib.verify.compare import difference
from trainlib.verify.trajectory import run_optimizer


def test_scale_and_its_schedule_agree_with_optax(problem, run_optax):
    decay = tl.exponential_decay(1.0, 10, 0.5, dtype="float64")
    ours = run_optimizer(
        lambda learning_rate: tl.chain(
            tl.scale(0.5), tl.adam(0.01, B1, B2, convention="optax"), tl.scale_by_schedule(decay)
        ),
        problem,
    )
    theirs = run_optax(
        lambda optax: optax.chain(
            optax.scale(0.5),
            optax.adam(0.01, B1, B2),
            optax.scale_by_schedule(lambda k: 0.5 ** (k.astype("float64") / 10)),
        ),
        problem,
    )
    assert difference(ours, theirs).error < 1e-12


def test_scale_takes_tensors_and_none():
    tx = tl.scale(tf.constant(0.5, tf.float64))
    updates, _ = tx.update({"a": tf.constant(3.0, tf.bfloat16), "b": None}, (), None)
    assert updates["a"] == 1.5 and updates["b"] is None


def test_factors_that_are_not_finite_numbers_are_refused():
    with pytest.raises(ValueError, match="factor must be finite, got inf"):
        tl.scale(float("inf"))
    with pytest.raises(TypeError, match="schedule must be a function"):
        tl.scale_by_schedule(0.5)


def test_centralize_leaves_each_unit_a_mean_of_0():
    rng = np.random.default_rng(0)
    grads = {"conv": rng.normal(size=(3, 3, 2, 4)), "bias": rng.normal(size=4)}
    updates, _ = tl.centralize().update(grads, (), grads)
    np.testing.assert_allclose(np.mean(updates["conv"], axis=(0, 1, 2)), np.zeros(4), atol=1e-16)
    np.testing.assert_array_equal(updates["bias"], grads["bias"])


def test_centralize_with_units_first_agrees_with_optax(problem, run_optax):
    ours = run_optimizer(lambda learning_rate: tl.chain(tl.centralize(0), tl.sgd(0.1)), problem)
    theirs = run_optax(lambda optax: optax.chain(optax.centralize(), optax.sgd(0.1)), problem)
    assert difference(ours, theirs).error < 1e-12
    with pytest.raises(ValueError, match="unit_axis must be 0 or -1, got 1"):
        tl.centralize(1)


def noise_of(tx, step, shape=(20001,), run=None):
    grads = {"w": tf.zeros(shape, tf.float64), "x": tf.zeros(shape)}
    state = tx.init(grads)._replace(step=tf.constant(step, tf.int64))
    update = tx.update if run is None else tf.function(tx.update, jit_compile=run, autograph=False)
    return update(grads, state, grads)[0]


def test_noise_has_the_variance_of_the_paper():
    tx = tl.add_noise(eta=0.3, gamma=0.55, seed=1)
    for step in (0, 99):
        sigma = np.sqrt(0.3 / (1 + step) ** 0.55)
        z = noise_of(tx, step)["w"].numpy() / sigma
        assert abs(z.mean()) < 4 / np.sqrt(z.size)
        assert abs(z.var() - 1) < 4 * np.sqrt(2 / z.size)


def test_noise_is_a_function_of_seed_step_and_position():
    tx = tl.add_noise(seed=1)
    first = noise_of(tx, 0, (3, 1001))
    for run in (None, False, True):
        np.testing.assert_allclose(noise_of(tx, 0, (3, 1001), run)["w"], first["w"], rtol=1e-12)
    assert not np.allclose(first["w"], first["x"])
    assert not np.allclose(first["w"], noise_of(tx, 1, (3, 1001))["w"])
    assert not np.allclose(first["w"], noise_of(tl.add_noise(seed=2), 0, (3, 1001))["w"])


def test_noise_keeps_none_and_counts_calls():
    tx = tl.add_noise(seed=1)
    params = {"a": tf.ones([2], tf.float16), "b": tf.ones([2])}
    updates, state = tx.update({"a": params["a"], "b": None}, tx.init(params), params)
    assert updates["a"].dtype == tf.float32 and updates["b"] is None and state.step == 1
    with pytest.raises(ValueError, match="eta must be at least 0"):
        tl.add_noise(-1.0, seed=1)


def test_the_seed_of_the_noise_is_an_integer_or_a_tensor():
    with pytest.raises(TypeError, match="seed must be an integer, got 0.5"):
        tl.add_noise(seed=0.5)
    with pytest.raises(ValueError, match="seed must be at least -9223372036854775808 and at most"):
        tl.add_noise(seed=2**63)
    ours, expected = (
        noise_of(tl.add_noise(seed=x), 0, (3,)) for x in (tf.constant(2**40, tf.int64), 2**40)
    )
    np.testing.assert_array_equal(ours["w"], expected["w"])
    assert not np.allclose(ours["w"], noise_of(tl.add_noise(seed=0), 0, (3,))["w"])
