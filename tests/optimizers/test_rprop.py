"""Rprop, where the comparison with peers does not cover it."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
import tensorflow as tf

import trainlib as tl

PARAMS = {"w": tf.constant([1.0, -2.0, 0.5], tf.float64)}


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
    ("options", "message"),
    [
        ({"eta_minus": 1.0}, "eta_minus must be above 0 and below 1"),
        ({"eta_plus": 1.0}, "eta_plus must be above 1"),
        ({"min_step_size": 0.0}, "min_step_size must be above 0"),
        (
            {"learning_rate": 100.0},
            "between min_step_size and max_step_size, got 100.0, 1e-06 and 50.0",
        ),
        ({"variant": "plus"}, "unknown variant 'plus'"),
        ({"convention": "keras"}, "unknown convention of rprop 'keras'"),
    ],
)
def test_values_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        tl.rprop(**options)


def test_defaults_equal_those_of_torch():
    torch = pytest.importorskip("torch")
    ours, theirs = defaults(tl.rprop), defaults(torch.optim.Rprop)
    assert ours["learning_rate"] == theirs["lr"]
    assert (ours["eta_minus"], ours["eta_plus"]) == theirs["etas"]
    assert (ours["min_step_size"], ours["max_step_size"]) == theirs["step_sizes"]


def defaults(factory):
    return {name: p.default for name, p in inspect.signature(factory).parameters.items()}
