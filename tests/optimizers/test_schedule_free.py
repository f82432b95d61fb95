"""Schedule_free_adamw, where the comparison with peers does not cover it."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import trainlib as tl

PARAMS = {"w": tf.constant([1.0, -2.0], tf.float64), "b": tf.constant(0.5, tf.float64)}


def run(tx, steps=8):
    """The parameters y and the fast sequences z."""
    params, state, ys, zs = PARAMS, tx.init(PARAMS), [], []
    for k in range(steps):
        grads = tf.nest.map_structure(lambda w, k=k: w / 2 + np.cos(3.0 * k), params)
        updates, state = tx.update(grads, state, params)
        params = tl.apply_updates(params, updates)
        ys.append(params["w"])
        zs.append(state.z["w"])
    return params, state, np.array(ys), np.array(zs)


def test_the_state_has_its_documented_fields():
    state = tl.schedule_free_adamw().init(PARAMS)
    assert state._fields == ("step", "z", "v", "beta_1", "rate_max", "weight_sum")
    assert state.step.dtype == tf.int64 and state.beta_1.dtype == tf.float64
    np.testing.assert_array_equal(state.z["w"], PARAMS["w"])


def test_the_default_is_the_intended_form_and_x_the_mean_of_z():
    params, state, _, zs = run(tl.schedule_free_adamw(0.125, 0.75))
    x = tl.schedule_free_eval_params(state, params)["w"]
    np.testing.assert_allclose(x, zs.mean(axis=0), rtol=1e-13)
    np.testing.assert_allclose(params["w"], 0.25 * zs[-1] + 0.75 * x, rtol=1e-13)


def test_keras_alias_has_no_beta_1():
    params, state, ys, zs = run(tl.schedule_free_adamw(0.125, 0.75, convention="keras"))
    np.testing.assert_allclose(ys[-1], zs.mean(axis=0), rtol=1e-13)
    x = tl.schedule_free_eval_params(state, params)
    tf.nest.map_structure(np.testing.assert_array_equal, x, params)
    _, _, other, _ = run(tl.schedule_free_adamw(0.125, 0.25, convention="keras"))
    np.testing.assert_array_equal(ys, other)
    _, _, exact, _ = run(tl.schedule_free_adamw(0.125, 0.75, convention="keras", interp="exact"))
    _, _, optax, _ = run(tl.schedule_free_adamw(0.125, 0.75))
    np.testing.assert_allclose(exact, optax, rtol=1e-12)
    assert np.abs(exact - ys).max() > 1e-3


def test_the_paper_weighs_by_the_folded_rate():
    """x = sum of gamma_t^2 z_t / sum of gamma_t^2, gamma_t = eta min(t / warm, 1) sqrt(c_2)."""
    tx = tl.schedule_free_adamw(0.125, 0.75, 0.875, warmup_steps=4, convention="paper")
    params, state, _, zs = run(tx)
    t = np.arange(1, 9)
    gamma = np.minimum(t / 4, 1) * np.sqrt(1 - 0.875**t)
    x = tl.schedule_free_eval_params(state, params)["w"]
    np.testing.assert_allclose(x, np.average(zs, axis=0, weights=gamma**2), rtol=1e-12)


def test_a_warm_up_from_zero_starts_with_an_update_of_0():
    tx = tl.schedule_free_adamw(0.125, warmup_steps=4)
    _, _, ys, _ = run(tx, 1)
    np.testing.assert_allclose(ys[0], PARAMS["w"], rtol=1e-15)
    _, _, ys, _ = run(tl.schedule_free_adamw(0.125, warmup_steps=4, warmup_from="one"), 1)
    assert ys[0][0] != PARAMS["w"][0]


@pytest.mark.parametrize("convention", ["keras", "optax", "paper"])
def test_a_gradient_of_none_makes_no_step(convention):
    tx = tl.schedule_free_adamw(weight_decay=0.5, convention=convention)
    updates, state = tx.update({"w": None, "b": PARAMS["b"]}, tx.init(PARAMS), PARAMS)
    assert updates["w"] is None and updates["b"] != 0
    np.testing.assert_array_equal(state.z["w"], PARAMS["w"])


def test_the_eval_params_keep_the_dtype():
    params = {"w": tf.ones([3], tf.bfloat16)}
    tx = tl.schedule_free_adamw(0.5)
    updates, state = tx.update(params, tx.init(params), params)
    params = tl.apply_updates(params, updates)
    assert state.z["w"].dtype == tf.float32
    assert tl.schedule_free_eval_params(state, params)["w"].dtype == tf.bfloat16


@pytest.mark.parametrize(
    "wrap",
    [
        lambda tx: tl.chain(tl.scale(1.0), tx),
        lambda tx: tl.inject_hyperparams(lambda factor: tl.chain(tl.scale(factor), tx))(1.0),
        lambda tx: tl.accumulate(tx, 1),
        lambda tx: tl.partition({"w": tx, "b": tx}, lambda path: path),
    ],
    ids=["chain", "inject", "accumulate", "partition"],
)
def test_the_eval_params_are_found_in_the_state_of_a_wrapper(wrap):
    plain = tl.schedule_free_adamw(0.125, 0.75)
    params, state, _, _ = run(plain, 3)
    expected = tl.schedule_free_eval_params(state, params)
    tx, found = wrap(plain), PARAMS
    state = tx.init(found)
    for k in range(3):
        grads = tf.nest.map_structure(lambda w, k=k: w / 2 + np.cos(3.0 * k), found)
        updates, state = tx.update(grads, state, found)
        found = tl.apply_updates(found, updates)
    found = tl.schedule_free_eval_params(state, found)
    tf.nest.map_structure(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12), found, expected
    )


def test_the_eval_params_of_a_frozen_parameter_are_its_values():
    tx = tl.freeze(tl.schedule_free_adamw(0.125), lambda path: path == "b")
    found = tl.schedule_free_eval_params(tx.init(PARAMS), {"w": PARAMS["w"], "b": tf.constant(3.0)})
    np.testing.assert_allclose(found["w"], PARAMS["w"], rtol=1e-12)
    assert float(found["b"]) == 3.0


def test_invalid_arguments_are_refused_by_name():
    with pytest.raises(ValueError, match="beta_1 must be above 0 and at most 1, got 0.0"):
        tl.schedule_free_adamw(beta_1=0.0)
    with pytest.raises(ValueError, match="unknown interp 'keras': did you mean 'keras_alias'"):
        tl.schedule_free_adamw(interp="keras")
    with pytest.raises(TypeError, match="needs a state of schedule_free_adamw, got AdamState"):
        tl.schedule_free_eval_params(tl.adam().init(PARAMS), PARAMS)
