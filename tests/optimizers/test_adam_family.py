"""What all of Adam's relatives share: None, tensors as hyperparameters, low precision, decay."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import trainlib as tl

RULES = {
    "adamax": tl.adamax,
    "adamaxw": tl.adamaxw,
    "nadam": tl.nadam,
    "nadamw": tl.nadamw,
    "radam": tl.radam,
    "adabelief": tl.adabelief,
    "yogi": tl.yogi,
    "novograd": tl.novograd,
    "adan": tl.adan,
    "ademamix": tl.ademamix,
}
FORMS = [(name, convention) for name, make in RULES.items() for convention in make.conventions]
PARAMS = {"a": tf.constant([1.0, -2.0, 0.5]), "b": tf.constant([[4.0, -1.0]])}
GRADS = {"a": tf.constant([0.5, 0.0, -2.0]), "b": tf.constant([[0.25, 1.0]])}


def steps(tx, params, grads, count):
    state = tx.init(params)
    for _ in range(count):
        updates, state = tx.update(grads, state, params)
        params = tl.apply_updates(params, updates)
    return params, state


@pytest.mark.parametrize(("name", "convention"), FORMS)
def test_no_gradient_leaves_parameter_and_slots(name, convention):
    tx = RULES[name](convention=convention, weight_decay=0.125)
    grads = {"a": None, "b": GRADS["b"]}
    first = tx.init(PARAMS)
    params, state = steps(tx, PARAMS, grads, 3)
    assert int(state.step) == 3 and state.step.dtype == tf.int64
    np.testing.assert_array_equal(params["a"], PARAMS["a"])
    assert np.all(params["b"] != PARAMS["b"])
    for old, new in zip(first, state, strict=True):
        if isinstance(old, dict):
            np.testing.assert_array_equal(old["a"], new["a"])


@pytest.mark.parametrize(("name", "convention"), FORMS)
def test_hyperparameters_may_be_tensors(name, convention):
    numbers = {"learning_rate": 2**-7, "beta_1": 0.875, "beta_2": 1 - 2**-10, "epsilon": 2**-20}
    numbers["weight_decay"] = 0.125
    tensors = {key: tf.constant(x) for key, x in numbers.items()}
    expected, _ = steps(RULES[name](**numbers, convention=convention), PARAMS, GRADS, 12)
    result, _ = steps(RULES[name](**tensors, convention=convention), PARAMS, GRADS, 12)
    for key in expected:
        np.testing.assert_allclose(result[key], expected[key], rtol=1e-6)


@pytest.mark.parametrize(("name", "convention"), FORMS)
def test_bfloat16_parameters_have_float32_state(name, convention):
    params = {key: tf.cast(w, tf.bfloat16) for key, w in PARAMS.items()}
    grads = {key: tf.cast(g, tf.bfloat16) for key, g in GRADS.items()}
    tx = RULES[name](0.0625, convention=convention)
    moved, state = steps(tx, params, grads, 2)
    assert all(w.dtype == tf.bfloat16 for w in moved.values())
    trees = [field for field in state if isinstance(field, dict)]
    assert all(slot.dtype == tf.float32 for tree in trees for slot in tree.values())
    expected, _ = steps(tx, PARAMS, GRADS, 2)
    for key, w in expected.items():
        np.testing.assert_allclose(tf.cast(moved[key], tf.float32), w, atol=0.03)


@pytest.mark.parametrize("name", RULES)
def test_mask_spares_a_parameter_from_decay(name):
    still = {key: tf.zeros_like(w) for key, w in PARAMS.items()}
    options = {"initial_mean_value": 0.0} if name == "yogi" else {}
    mask = {"a": True, "b": False}
    tx = RULES[name](0.125, weight_decay=0.5, decay_mask=mask, **options)
    params, _ = steps(tx, PARAMS, still, 2)
    assert np.all(np.abs(params["a"]) < np.abs(PARAMS["a"]))
    np.testing.assert_array_equal(params["b"], PARAMS["b"])


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("learning_rate", -1.0, "learning_rate must be at least 0"),
        ("beta_1", 1.0, "beta_1 must be at least 0 and below 1"),
        ("beta_2", -0.1, "beta_2 must be at least 0 and below 1"),
        ("epsilon", -1e-7, "epsilon must be"),
        ("weight_decay", -0.1, "weight_decay must be at least 0"),
        ("convention", "kera", "unknown convention"),
    ],
)
def test_bad_hyperparameters_are_named(name, option, value, message):
    with pytest.raises(ValueError, match=message):
        RULES[name](**{option: value})
