"""What all optimizers have in common, for each of them under each of its conventions.

test_properties.py tests more of this on random trees; the values are compared with
the peers in tests/verify.
"""

from __future__ import annotations

import inspect

import numpy as np
import pytest
import tensorflow as tf

import trainlib as tl
from trainlib.registry import OPTIMIZERS

FORMS = [(name, form) for name, factory in OPTIMIZERS.items() for form in factory.conventions]
EVERY_FORM = pytest.mark.parametrize(("name", "convention"), FORMS)
SOAK = pytest.mark.soak
FIRST_FORMS = pytest.mark.parametrize(
    ("name", "convention"),
    [
        pytest.param(name, form, marks=SOAK if place else [])
        for name, factory in OPTIMIZERS.items()
        for place, form in enumerate(factory.conventions)
    ],
)
"""One form of each optimizer, and the others in soak."""
PARAMS = {"a": tf.constant([1.0, -2.0, 0.5]), "b": tf.constant([[4.0, -1.0]])}
GRADS = {"a": tf.constant([0.5, 0.0, -2.0]), "b": tf.constant([[0.25, 1.0]])}
DYADIC = {
    "learning_rate": 2**-7,
    "beta_1": 0.875,
    "beta_2": 1 - 2**-10,
    "momentum": 0.5,
    "rho": 0.875,
    "epsilon": 2**-20,
    "weight_decay": 0.125,
}
"""Hyperparameters that float32 holds exactly."""


def make(name, convention, **options):
    """An optimizer with those of the options that its factory takes."""
    given = {key: x for key, x in options.items() if takes(name, key)}
    return OPTIMIZERS[name](**given, convention=convention)


def takes(name, option):
    """Whether the factory of an optimizer has a parameter of that name."""
    return option in inspect.signature(OPTIMIZERS[name]).parameters


def steps(tx, params, grads, count):
    """The parameters and the state after some steps."""
    state = tx.init(params)
    for _ in range(count):
        updates, state = tx.update(grads, state, params)
        params = tl.apply_updates(params, updates)
    return params, state


def leaves_of(state, key):
    """The leaves of a state that belong to the parameter `key`."""
    if isinstance(state, dict):
        own = tf.nest.flatten(state[key]) if key in state else []
        return own + [x for k, v in state.items() if k != key for x in leaves_of(v, key)]
    if isinstance(state, tuple):
        return [x for child in state for x in leaves_of(child, key)]
    return []


@EVERY_FORM
def test_a_parameter_without_gradient_and_its_slots_stay(name, convention):
    tx = make(name, convention, weight_decay=0.125, momentum=0.5)
    first = tx.init(PARAMS)
    params, state = steps(tx, PARAMS, GRADS | {"a": None}, 3)
    assert int(state.step) == 3 and state.step.dtype == tf.int64
    np.testing.assert_array_equal(params["a"], PARAMS["a"])
    assert np.all(params["b"] != PARAMS["b"])
    before, after = leaves_of(first, "a"), leaves_of(state, "a")
    assert len(before) == len(after) and (before or name == "sign_sgd")
    for old, new in zip(before, after, strict=True):
        np.testing.assert_array_equal(old, new)


@FIRST_FORMS
def test_hyperparameters_may_be_tensors(name, convention):
    tensors = {key: tf.constant(x) for key, x in DYADIC.items()}
    expected, _ = steps(make(name, convention, **DYADIC), PARAMS, GRADS, 3)
    result, _ = steps(make(name, convention, **tensors), PARAMS, GRADS, 3)
    for key in expected:
        np.testing.assert_allclose(result[key], expected[key], rtol=1e-6)


@FIRST_FORMS
def test_bfloat16_parameters_have_a_state_in_float32_or_wider(name, convention):
    params = {key: tf.cast(w, tf.bfloat16) for key, w in PARAMS.items()}
    grads = {key: tf.cast(g, tf.bfloat16) for key, g in GRADS.items()}
    tx = make(name, convention, learning_rate=0.0625)
    moved, state = steps(tx, params, grads, 2)
    assert all(w.dtype == tf.bfloat16 for w in moved.values())
    dtypes = {x.dtype for x in leaves_of(state, "a") + leaves_of(state, "b")}
    assert dtypes <= {tf.float32}
    expected, _ = steps(tx, PARAMS, GRADS, 2)
    for key, w in expected.items():
        np.testing.assert_allclose(tf.cast(moved[key], tf.float32), w, atol=0.03)


@pytest.mark.parametrize("name", [name for name in OPTIMIZERS if takes(name, "decay_mask")])
def test_the_mask_excludes_a_parameter_from_decay(name):
    still = {key: tf.zeros_like(w) for key, w in PARAMS.items()}
    options = {"learning_rate": 0.125, "initial_mean_value": 0.0, "z_init": "consistent"}
    options |= {"adam_weight_decay": 0.5, "d_0": 0.5}
    convention = inspect.signature(OPTIMIZERS[name]).parameters["convention"].default
    if name == "ftrl":  # Under "keras" its weights are a function of the state alone.
        convention = "paper"
    mask = {"a": True, "b": False}
    tx = make(name, convention, weight_decay=0.5, decay_mask=mask, **options)
    params, _ = steps(tx, PARAMS, still, 2)
    assert np.all(np.abs(params["a"]) < np.abs(PARAMS["a"]))
    np.testing.assert_allclose(params["b"], PARAMS["b"], rtol=1e-6)


@EVERY_FORM
def test_gradients_of_zero_move_nothing(name, convention):
    options = {"weight_decay": 0.0, "adam_weight_decay": 0.0}
    options |= {"initial_mean_value": 0.0, "z_init": "consistent"}
    zeros = {key: tf.zeros_like(g) for key, g in GRADS.items()}
    params, _ = steps(make(name, convention, **options), PARAMS, zeros, 2)
    for key, w in PARAMS.items():
        np.testing.assert_allclose(params[key], w, rtol=1e-6)


@EVERY_FORM
def test_a_tree_without_parameters_has_a_state_and_an_empty_update(name, convention):
    tx = make(name, convention)
    updates, state = tx.update({}, tx.init({}), {})
    assert updates == {} and int(state.step) == 1


COMMON = [
    ("learning_rate", -1.0, "learning_rate must be"),
    ("beta_1", -0.1, "beta_1 must be (at least|above) 0"),
    ("beta_2", 1.0, "beta_2 must be at least 0 and below 1"),
    ("epsilon", -1e-7, "epsilon must be (at least|above) 0"),
    ("weight_decay", -0.1, "weight_decay must be at least 0"),
    ("decay_form", "ad", "unknown decay_form 'ad': did you mean 'add'"),
    ("convention", "kera", "unknown convention of"),
]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_common_values_out_of_range_are_refused(name):
    for option, value, message in COMMON:
        if takes(name, option):
            with pytest.raises(ValueError, match=message):
                OPTIMIZERS[name](**{option: value})


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("adadelta", {"rho": 1.0}, "rho must be at least 0 and below 1, got 1.0"),
        ("adadelta", {"epsilon": 0.0}, "epsilon must be above 0, got 0.0"),
        ("adafactor", {"beta_2_decay": 0.8}, "beta_2_decay must be at most 0, got 0.8"),
        ("adafactor", {"epsilon_1": 0.0}, "epsilon_1 must be above 0, got 0.0"),
        ("adafactor", {"factor_axes": "last"}, "unknown factor_axes 'last'"),
        (
            "adagrad",
            {"initial_accumulator_value": -1},
            "initial_accumulator_value must be at least 0",
        ),
        ("adagrad", {"lr_decay": -1}, "lr_decay must be at least 0"),
        (
            "adagrad",
            {"epsilon_place": "in"},
            "unknown epsilon_place 'in': .*choose from inside, outside",
        ),
        ("adamax", {"epsilon": 0.0}, "epsilon must be above 0, got 0.0"),
        ("adamax", {"eps_at": "in_root"}, "unknown eps_at 'in_root'"),
        ("adan", {"beta_3": 1.0}, "beta_3 must be at least 0 and below 1"),
        ("adan", {"difference_weight": "beta"}, "unknown difference_weight 'beta'"),
        ("adan", {"start": "zeros"}, "unknown start 'zeros': did you mean 'zero'"),
        ("adan", {"decay_form": "prox"}, "unknown decay_form 'prox'"),
        ("ademamix", {"beta_3": 1.0}, "beta_3 must be at least 0 and below 1"),
        ("ademamix", {"alpha": -1.0}, "alpha must be at least 0"),
        ("ftrl", {"learning_rate": 0.0}, "learning_rate must be above 0, got 0.0"),
        ("ftrl", {"learning_rate_power": 0.5}, "learning_rate_power must be at most 0, got 0.5"),
        ("ftrl", {"initial_accumulator_value": -1}, "initial_accumulator_value must be at least 0"),
        (
            "ftrl",
            {"l1_regularization_strength": -1},
            "l1_regularization_strength must be at least 0",
        ),
        (
            "ftrl",
            {"l2_regularization_strength": -1},
            "l2_regularization_strength must be at least 0",
        ),
        (
            "ftrl",
            {"l2_shrinkage_regularization_strength": -1},
            "l2_shrinkage_regularization_strength must be at least 0",
        ),
        ("ftrl", {"beta": -1}, "beta must be at least 0"),
        ("ftrl", {"z_init": "none"}, "unknown z_init 'none': .*choose from zero, consistent"),
        ("lamb", {"decay_form": "in_ration"}, "'in_ration': did you mean 'in_ratio'"),
        ("lamb", {"beta_1": 1.0}, "beta_1 must be at least 0 and below 1, got 1.0"),
        ("lamb", {"convention": "torch"}, "choose from keras, optax, paper"),
        ("lars", {"trust_coefficient": 0.0}, "trust_coefficient must be above 0, got 0.0"),
        ("lars", {"ratio_form": "join"}, "unknown ratio_form 'join': did you mean 'joint'"),
        ("lars", {"convention": "keras"}, "choose from optax, paper"),
        ("lion", {"beta_1": 1.5}, "beta_1 must be at least 0 and at most 1"),
        ("lion", {"beta_2": 1.0}, "beta_2 must be at least 0 and below 1"),
        ("rmsprop", {"rho": 1.0}, "rho must be at least 0 and below 1, got 1.0"),
        ("rmsprop", {"epsilon": 0.0}, "epsilon must be above 0, got 0.0"),
        ("rmsprop", {"initial_scale": -1}, "initial_scale must be at least 0"),
        ("rmsprop", {"velocity": "out"}, "unknown velocity 'out': .*choose from lr_in, lr_out"),
        ("rmsprop", {"epsilon_place": "root"}, "unknown epsilon_place 'root'"),
        ("rprop", {"eta_minus": 1.0}, "eta_minus must be above 0 and below 1"),
        ("rprop", {"eta_plus": 1.0}, "eta_plus must be above 1"),
        ("rprop", {"min_step_size": 0.0}, "min_step_size must be above 0"),
        ("rprop", {"variant": "plus"}, "unknown variant 'plus'"),
        ("sgd", {"learning_rate": -1}, "learning_rate must be at least 0, got -1"),
        ("sgd", {"momentum": 1.5}, "momentum must be at least 0 and at most 1, got 1.5"),
        ("sgd", {"velocity": "lr-in"}, "unknown velocity 'lr-in': did you mean 'lr_in'?"),
        ("sgd", {"first_velocity": "one"}, "unknown first_velocity 'one'"),
        ("sgd", {"convention": "tensorflow"}, "unknown convention of sgd 'tensorflow'"),
        ("signum", {"momentum": 1.0}, "momentum must be at least 0 and below 1"),
        ("yogi", {"initial_accumulator_value": -1}, "initial_accumulator_value must be at least 0"),
        ("yogi", {"bias_form": "fold"}, "unknown bias_form 'fold': did you mean 'folded'"),
    ],
)
def test_values_out_of_range_are_refused(name, options, message):
    with pytest.raises(ValueError, match=message):
        OPTIMIZERS[name](**options)
