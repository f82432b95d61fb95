"""`from_update_rule` and `map_update_rule`: what they supply to an equation on one tensor."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest
import tensorflow as tf

from trainlib.core.tree import zeros_like
from trainlib.core.types import Optimizer
from trainlib.optimizers.base import WeightDecay, checked, from_update_rule, full, map_update_rule

PARAMS = {"a": tf.constant([1.0, -2.0]), "b": tf.constant(0.5, tf.float64)}
GRADS = {"a": tf.constant([0.5, 0.25]), "b": tf.constant(-1.0, tf.float64)}


class State(NamedTuple):
    step: Any
    x: Any = ()
    y: Any = ()
    total: Any = ()


def recorded(rule=lambda g, hp: (g,), **options) -> tuple[Optimizer, list[Any]]:
    """An optimizer from an update rule, and a list to which each call of the rule adds its `hp`."""
    seen: list[Any] = []

    def recording(g, *slots_and_hp):
        seen.append(slots_and_hp[-1])
        return rule(g, *slots_and_hp)

    return from_update_rule(
        recording, State, **({"slots": {}, "learning_rate": 0.5} | options)
    ), seen


def test_an_update_rule_reads_step_rate_parameter_and_hyperparameters_in_the_compute_dtype():
    tx, seen = recorded(
        learning_rate=lambda step: 0.5 / tf.cast(step + 1, tf.float32),
        hyperparameters={
            "number": 0.25,
            "tensor": tf.constant(2.0),
            "scheduled": lambda step: tf.cast(step, tf.float32),
            "form": "sum",
            "flag": True,
        },
    )
    _, state = tx.update(GRADS, tx.init(PARAMS), PARAMS)
    tx.update(GRADS, state, PARAMS)
    assert [float(hp.t) for hp in seen] == [1, 1, 2, 2]
    assert [float(hp.eta) for hp in seen] == [0.5, 0.5, 0.25, 0.25]
    assert [float(hp.scheduled) for hp in seen] == [0, 0, 1, 1]
    assert [hp.tensor.dtype for hp in seen[:2]] == [tf.float32, tf.float64]
    np.testing.assert_array_equal(seen[0].w, PARAMS["a"])
    assert (seen[0].number, seen[0].form, seen[0].flag) == (0.25, "sum", True)


def test_low_precision_reaches_the_update_rule_as_float32():
    params = {"a": tf.constant([1.0], tf.bfloat16)}
    dtypes = []

    def rule(g, x, hp):
        dtypes.extend([g.dtype, x.dtype, hp.w.dtype])
        return g, x + g

    tx, _ = recorded(rule, slots={"x": full(0.25)})
    updates, state = tx.update(params, tx.init(params), params)
    assert dtypes == [tf.float32] * 3
    assert updates["a"].dtype == state.x["a"].dtype == tf.float32
    np.testing.assert_array_equal(state.x["a"], [1.25])


def test_an_unused_slot_is_none_in_the_update_rule_and_empty_in_the_state():
    calls = []

    def rule(g, x, y, hp):
        calls.append(x)
        return -g, x, y + g

    tx, _ = recorded(rule, slots={"x": None, "y": zeros_like})
    updates, state = tx.update(GRADS, tx.init(PARAMS), PARAMS)
    assert calls == [None, None] and state.x == ()
    np.testing.assert_array_equal(state.y["a"], GRADS["a"])
    np.testing.assert_array_equal(updates["a"], -GRADS["a"])


def test_gradients_of_none_leave_slots_unchanged_and_the_step_advances():
    tx, _ = recorded(lambda g, x, hp: (g, x + g), slots={"x": zeros_like})
    _, state = tx.update(GRADS, tx.init(PARAMS), PARAMS)
    updates, after = tx.update(GRADS | {"a": None}, state, PARAMS)
    assert updates["a"] is None
    assert after.step.dtype == tf.int64 and int(after.step) == 2
    np.testing.assert_array_equal(after.x["a"], state.x["a"])
    np.testing.assert_array_equal(after.x["b"], 2 * GRADS["b"])


def test_prepare_computes_scalars_once_per_update_and_stores_those_of_the_state():
    calls = []

    def prepare(state, hp):
        calls.append(hp)
        return {"total": state.total + hp.eta * hp.t, "doubled": 2 * hp.t}

    tx, seen = recorded(slots={"total": 1.0}, prepare=prepare)
    state = tx.init(PARAMS)
    assert state.total.dtype == tf.float64
    for total in (1.5, 2.5):
        _, state = tx.update(GRADS, state, PARAMS)
        assert float(state.total) == total
    assert len(calls) == 2 and calls[0].t.dtype == calls[0].eta.dtype == tf.float64
    assert [float(hp.total) for hp in seen] == [1.5, 1.5, 2.5, 2.5]
    assert [hp.doubled.dtype for hp in seen[:2]] == [tf.float32, tf.float64]


def test_masks_reach_the_update_rule_as_bools_of_the_parameter():
    tx, seen = recorded(masks={"chosen": lambda path: path == "b", "all": None})
    tx.update(GRADS, tx.init(PARAMS), PARAMS)
    assert [(hp.chosen, hp.all) for hp in seen] == [(False, True), (True, True)]


@pytest.mark.parametrize(
    ("value", "mask", "expected"),
    [(0.5, None, [0.5, 0.5]), (0.5, {"a": False, "b": True}, [None, 0.5]), (0.0, None, [None] * 2)],
)
def test_an_update_rule_that_decays_reads_none_if_a_parameter_does_not_decay(value, mask, expected):
    tx, seen = recorded(weight_decay=WeightDecay(value, mask=mask))
    tx.update(GRADS, tx.init(PARAMS), PARAMS)
    assert [hp.weight_decay for hp in seen] == expected


def test_a_form_of_decay_is_added_around_the_update_rule():
    tx, _ = recorded(lambda g, hp: (0 * g,), weight_decay=WeightDecay(0.5, "add"))
    updates, _ = tx.update(GRADS, tx.init(PARAMS), PARAMS)
    np.testing.assert_array_equal(updates["a"], -0.5 * 0.5 * PARAMS["a"])


@checked
def lion(learning_rate=0.1, beta_1=0.5, *, decay_form="add", undeclared=None):
    """A factory with the declarations of `lion`."""
    return recorded()[0]


@checked
def prodigy(beta_3=None):
    """A factory with the declarations of `prodigy`, whose beta_3 is optional."""
    return recorded()[0]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"learning_rate": -0.5}, ValueError, "learning_rate must be at least 0, got -0.5"),
        ({"learning_rate": "0.1"}, TypeError, "learning_rate must be a number, got '0.1'"),
        ({"beta_1": 1.5}, ValueError, "beta_1 must be at least 0 and at most 1, got 1.5"),
        ({"beta_1": lambda step: 0.5}, TypeError, "beta_1 must be a number"),
        ({"decay_form": "ad"}, ValueError, "unknown decay_form 'ad': did you mean 'add'"),
    ],
)
def test_a_checked_factory_refuses_what_its_declarations_exclude(options, error, message):
    with pytest.raises(error, match=message):
        lion(**options)


def test_a_checked_factory_takes_schedules_tensors_and_what_is_not_declared():
    assert isinstance(lion(lambda step: 0.1, beta_1=tf.constant(7.0), undeclared="x"), Optimizer)
    assert isinstance(prodigy(beta_3=None), Optimizer)
    with pytest.raises(ValueError, match="beta_3 must be at least 0 and below 1"):
        prodigy(beta_3=1.0)


@checked
def muon(ns_steps=5):
    """A factory with the declarations of `muon`."""
    return recorded()[0]


@pytest.mark.parametrize("steps", [5.0, np.float64(5), True, "5", None])
def test_a_checked_factory_takes_integers_only_where_one_is_declared(steps):
    assert isinstance(muon(np.int64(5)), Optimizer) and isinstance(muon(tf.constant(5)), Optimizer)
    with pytest.raises(TypeError, match="^ns_steps must be an integer, got"):
        muon(steps)


def test_map_update_rule_returns_the_updates_and_each_slot():
    def rule(g, x, y, hp):
        return g * hp.factor, x, None

    slot = {"a": tf.constant([3.0, 4.0]), "b": tf.constant(5.0, tf.float64)}
    updates, x, y = map_update_rule(rule, GRADS, slot, None, params=PARAMS, scalars={"factor": 2.0})
    np.testing.assert_array_equal(updates["a"], [1.0, 0.5])
    np.testing.assert_array_equal(x["b"], 5.0)
    assert y is None
