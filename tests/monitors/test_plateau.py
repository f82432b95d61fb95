"""`reduce_on_plateau` makes the decisions of the peers, epoch by epoch."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from helpers.executions import soak_except
from helpers.monitors import assert_same, drops, random_histories, rates

from trainlib.verify.function_cases.monitors import (
    keras_plateau,
    plateau,
)


@pytest.mark.parametrize("seed", soak_except(*range(4), names=range(12)))
def test_rates_and_counters_are_those_of_keras(seed):
    rng = np.random.default_rng(seed)
    options = {
        "mode": rng.choice(["min", "max"]).item(),
        "factor": rng.choice([0.1, 0.5, 0.7]).item(),
        "patience": int(rng.integers(0, 5)),
        "min_delta": rng.choice([0.0, 1e-4, 0.1]).item(),
        "cooldown": int(rng.integers(0, 4)),
        "min_lr": rng.choice([1e-9, 0.003, 0.02]).item(),
    }
    history = random_histories(rng)
    assert_same(
        plateau(0.1, **options)("float64", tf.constant(history)),
        keras_plateau(**options)("float64", history),
    )


def test_a_constant_metric_reduces_the_rate_in_the_epochs_of_each_library():
    constant = [1.0] * 13
    assert drops(constant, patience=2) == [2, 4, 6, 8, 10, 12]
    assert drops(constant, patience=2, convention="torch") == [3, 6, 9, 12]
    assert drops(constant, patience=2, convention="optax") == [2, 4, 6, 8, 10, 12]
    assert drops(constant, patience=0) == drops(constant, patience=1) == [*range(1, 13)]
    assert drops(constant, patience=0, convention="torch") == [*range(1, 13)]


def test_a_cooldown_is_one_epoch_shorter_in_keras():
    constant = [1.0] * 13
    assert drops(constant, patience=2, cooldown=1) == drops(constant, patience=2)
    assert drops(constant, patience=2, cooldown=3) == [2, 6, 10]
    assert drops(constant, patience=2, cooldown=3, cooldown_rule="full") == [2, 7, 12]


@pytest.mark.parametrize("mode", ["min", pytest.param("max", marks=pytest.mark.soak)])
@pytest.mark.parametrize(("patience", "cooldown"), [(1, 1), (2, 3), (4, 2)])
def test_conventions_agree_when_patience_and_cooldown_are_shifted(patience, cooldown, mode):
    rng = np.random.default_rng(patience)
    history = 4 - np.cumsum(rng.integers(-3, 5, 80)) / 64  # exact, and so are its sums
    of_all = {"mode": mode, "min_delta": 2**-6, "factor": 0.5, "rel_delta": 0.0}
    keras_rates = rates(history, patience=patience, cooldown=cooldown, **of_all)
    of_all["cooldown"] = cooldown - 1
    assert (
        rates(history, patience=patience - 1, convention="torch", eps=0.0, **of_all) == keras_rates
    )
    assert rates(history, patience=patience, convention="optax", **of_all) == keras_rates
    assert len(set(keras_rates)) > 5


def test_the_rate_keeps_its_dtype_and_ends_at_min_lr():
    constant = [1.0] * 8
    seen = rates(constant, 0.1, patience=1, min_lr=0.003)
    expected = [np.float32(0.1), np.float32(float(np.float32(0.1)) * 0.1)]
    assert seen == [float(x) for x in expected] + [float(np.float32(0.003))] * 6
    exact = rates(constant, 0.1, patience=1, min_lr=0.003, rate_dtype="float64")
    assert exact == [0.1, 0.1 * 0.1] + [0.003] * 6
    assert rates(constant, 0.001, min_lr=0.003, patience=1) == [float(np.float32(0.001))] * 8


def test_the_rate_does_not_change_by_eps_or_less():
    assert rates([1.0] * 5, patience=1, factor=0.5, eps=0.125) == [1, 0.5, 0.25, 0.25, 0.25]
