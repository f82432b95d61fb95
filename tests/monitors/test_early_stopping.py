"""`early_stop` makes the decisions of Keras, epoch by epoch."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from helpers.executions import soak_except
from helpers.monitors import EPOCHS, assert_same, params_of, random_histories, stop_at

from trainlib.monitors import early_stop
from trainlib.verify.function_cases.monitors import (
    keras_stopping,
    stopping,
)


@pytest.mark.parametrize("seed", soak_except(*range(6), names=range(16)))
def test_stops_and_restored_epochs_are_those_of_keras(seed):
    rng = np.random.default_rng(seed)
    options = {
        "mode": rng.choice(["min", "max"]).item(),
        "patience": int(rng.integers(0, 9)),
        "min_delta": rng.choice([0.0, 1e-4, 0.1]).item(),
        "baseline": rng.choice([None, 2.9, 3.1]),
        "restore_best_weights": bool(seed % 2),
        "start_from_epoch": int(rng.choice([0, 0, 3, EPOCHS])) * (seed % 4 > 1),
    }
    history = random_histories(rng, 20)
    history[np.arange(20), options["start_from_epoch"] % EPOCHS] = 3.0
    theirs = keras_stopping(**options)("float64", history)
    if options["start_from_epoch"] == EPOCHS:
        theirs.pop("restored", None)  # Keras has not seen any weights.
    assert_same(stopping(**options)("float64", tf.constant(history)), theirs)


@pytest.mark.parametrize("patience", [0, 1, 2, 5])
def test_a_constant_metric_stops_after_patience(patience):
    index, state = stop_at([1.0] * 9, patience=patience)
    assert index == max(patience, 1)
    assert (state.wait, state.best_epoch, state.epoch) == (max(patience, 1), 1, index + 1)


def test_only_values_below_the_baseline_reset_the_wait():
    falling = [5.0, 4.0, 3.0, 3.0, 2.0]
    assert stop_at(falling, patience=3, baseline=1.0)[0] == 3
    assert stop_at(falling, patience=3, baseline=3.5)[0] is None
    # A new best never stops, however long the wait is.
    assert stop_at([5.0, 4.0, 3.0, 2.0, 1.5], patience=1, baseline=1.0)[0] is None


def test_epochs_before_start_from_epoch_are_ignored():
    index, state = stop_at([1.0, 9.0, 9.0, 8.0, 8.0, 8.0], patience=2, start_from_epoch=2)
    assert (index, state.best, state.best_epoch) == (5, 8.0, 4)
    index, state = stop_at([1.0] * 5, start_from_epoch=5)
    assert (index, state.best_epoch, state.epoch, state.wait) == (None, 0, 5, 0)
    assert np.isnan(state.best)


def test_the_state_keeps_the_parameters_of_the_best_epoch():
    monitor = early_stop("loss", patience=2, restore_best_weights=True)
    state = monitor.init(params_of(0))
    for epoch, (value, best) in enumerate([(3, 1), (2, 2), (4, 2), (1, 4), (1, 4), (2, 4)], 1):
        state = monitor.update(value, state, params_of(epoch))
        expected = params_of(best)
        np.testing.assert_array_equal(state.best_params["w"], expected["w"])
        assert state.best_params["n"][0] == best == state.best_epoch
    assert state.stop


def test_the_first_parameters_are_the_best_if_all_metrics_are_nan():
    monitor = early_stop("loss", patience=3, restore_best_weights=True)
    state = monitor.init([0.0])
    for epoch in (1.0, 2.0, 3.0):
        state = monitor.update(np.nan, state, [epoch])
    assert state.stop and state.best_epoch == 1 and state.best_params[0] == 1.0


def test_updates_do_not_change_a_stopped_state():
    monitor = early_stop("loss", restore_best_weights=True)
    state = monitor.init([0.0])
    for epoch, value in enumerate((2.0, 3.0), 1):
        state = monitor.update(value, state, [float(epoch)])
    assert state.stop
    later = monitor.update(0.5, state, [9.0])
    for a, b in zip(tf.nest.flatten(state), tf.nest.flatten(later), strict=True):
        assert a.numpy() == b.numpy()


def test_no_parameters_are_kept_without_restore_best_weights():
    monitor = early_stop("loss")
    assert monitor.update(1.0, monitor.init(params_of(0)), params_of(1)).best_params == ()


@pytest.mark.parametrize("compare_dtype", ["float32", "float64"])
def test_numbers_of_numpy_are_updated_as_tensors_are(compare_dtype):
    monitor = early_stop(
        "loss", min_delta=0.01, patience=4, baseline=0.9, compare_dtype=compare_dtype
    )
    tensors = monitor.init()
    numbers = {k: x.numpy() for k, x in tensors._asdict().items() if k != "best_params"}
    scalars = tensors._replace(**numbers)
    for loss in (np.nan, 1.0, 0.995, 0.5, 1e30, 0.4, 0.395, 0.5, 0.5, 0.5):
        tensors, scalars = (monitor.update(loss, x) for x in (tensors, scalars))
        for name in ("epoch", "best", "wait", "best_epoch", "stop"):
            ours, theirs = getattr(scalars, name), getattr(tensors, name).numpy()
            assert isinstance(ours, np.generic) and ours.dtype == theirs.dtype
            np.testing.assert_array_equal(ours, theirs)
    assert scalars.stop and scalars.best == 0.4
