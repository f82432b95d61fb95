"""What the comparison with peers does not cover of sign_sgd, signum, lion and rprop."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
import tensorflow as tf

import trainlib as tl

PARAMS = {"w": tf.constant([1.0, -2.0, 0.5], tf.float64)}
ZEROS = {"w": tf.zeros([3], tf.float64)}


@pytest.mark.parametrize("name", ["sign_sgd", "signum", "lion", "rprop"])
def test_gradients_of_zero_move_nothing(name):
    tx = getattr(tl, name)()
    state = tx.init(PARAMS)
    for _ in range(2):
        updates, state = tx.update(ZEROS, state, PARAMS)
        np.testing.assert_array_equal(updates["w"], [0.0, 0.0, 0.0])


def test_signum_without_momentum_is_sign_sgd():
    grads = {"w": tf.constant([0.5, 0.0, -1e-30], tf.float64)}
    moved = [
        tx.update(grads, tx.init(PARAMS), PARAMS)[0]["w"]
        for tx in (tl.sign_sgd(0.5), tl.signum(0.5, momentum=0.0))
    ]
    np.testing.assert_array_equal(moved[0], [-0.5, 0.0, 0.5])
    np.testing.assert_array_equal(*moved)


def rprop_path(signs, **options):
    """The updates of one weight under gradients of those signs, with dyadic factors."""
    tx = tl.rprop(1.0, 0.5, 2.0, 2.0**-4, 4.0, **options)
    params = tf.constant(0.0)
    state, path = tx.init(params), []
    for sign in signs:
        update, state = tx.update(tf.constant(sign), state, params)
        path.append(float(update))
    return path


@pytest.mark.parametrize(
    ("convention", "path"),
    [
        ("torch", [-1, -2, -4, -4, 0, 2, 4]),
        ("paper", [-1, -2, -4, -4, 4, 2, 4]),
        ("optax", [0, -1, -2, -4, 0, 0, 2]),
    ],
)
def test_rprop_forms_on_a_change_of_sign(convention, path):
    signs = [1.0, 3.0, 0.5, 1.0, -1.0, -1.0, -2.0]
    assert rprop_path(signs, convention=convention) == path


def test_rprop_stays_within_its_bounds():
    assert max(np.abs(rprop_path([1.0] * 6))) == 4
    steps = rprop_path([1.0, -1.0, -1.0, 1.0, 1.0, -1.0, -1.0, 1.0, 1.0, -1.0, -1.0])
    assert min(abs(u) for u in steps if u) == 2.0**-4


def test_rprop_starts_at_the_first_rate_of_a_schedule():
    tx = tl.rprop(tl.exponential_decay(0.25, 1, 0.5))
    np.testing.assert_array_equal(tx.init(PARAMS).delta["w"], [0.25] * 3)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("sign_sgd", {"learning_rate": -1}, "learning_rate must be at least 0"),
        ("signum", {"momentum": 1.0}, "momentum must be at least 0 and below 1"),
        ("lion", {"beta_1": 1.5}, "beta_1 must be at least 0 and at most 1"),
        ("lion", {"beta_2": 1.0}, "beta_2 must be at least 0 and below 1"),
        ("rprop", {"eta_minus": 1.0}, "eta_minus must be above 0 and below 1"),
        ("rprop", {"eta_plus": 1.0}, "eta_plus must be above 1"),
        ("rprop", {"min_step_size": 0.0}, "min_step_size must be above 0"),
        (
            "rprop",
            {"learning_rate": 100.0},
            "between min_step_size and max_step_size, got 100.0, 1e-06 and 50.0",
        ),
        ("rprop", {"variant": "plus"}, "unknown variant 'plus'"),
        ("rprop", {"convention": "keras"}, "unknown convention of rprop 'keras'"),
    ],
)
def test_bad_arguments_are_named(name, options, message):
    with pytest.raises(ValueError, match=message):
        getattr(tl, name)(**options)


def test_defaults_are_those_of_the_libraries():
    keras, torch, optax = (pytest.importorskip(name) for name in ("keras", "torch", "optax"))
    ours, theirs = defaults(tl.lion), defaults(keras.optimizers.Lion)
    assert all(ours[name] == theirs[name] for name in ("learning_rate", "beta_1", "beta_2"))
    assert tl.lion.conventions["optax"]["weight_decay"] == defaults(optax.lion)["weight_decay"]
    assert defaults(tl.signum)["momentum"] == defaults(optax.signum)["beta"]
    ours, theirs = defaults(tl.rprop), defaults(torch.optim.Rprop)
    assert ours["learning_rate"] == theirs["lr"]
    assert (ours["eta_minus"], ours["eta_plus"]) == theirs["etas"]
    assert (ours["min_step_size"], ours["max_step_size"]) == theirs["step_sizes"]


def defaults(factory):
    return {name: p.default for name, p in inspect.signature(factory).parameters.items()}
