"""When a result is better than the best so far, and in which direction."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from helpers.monitors import drops, stop_at

from trainlib.monitors import early_stop, reduce_on_plateau
from trainlib.monitors.improvement import direction
from trainlib.verify.function_cases.monitors import (
    keras_plateau,
)


def test_an_improvement_exceeds_min_delta():
    at, above = [1.0, 0.75, 0.5], [1.0, 0.7499, 0.4998]
    assert drops(at, patience=1, min_delta=0.25) == [1]  # 0.5 improves on 1 by more
    assert drops(above, patience=1, min_delta=0.25) == []
    assert drops([-x for x in at], patience=1, min_delta=0.25, mode="max") == [1]
    # Slow falls count once they are large enough together.
    assert drops(np.arange(1, 0, -0.125), patience=2, min_delta=0.2) == []


def test_delta_at_decides_which_sum_is_rounded():
    # 1 - 2^-24 is the number next to 1 in float32, and 1 - 2^-25 is rounded to 1.
    history, options = [1.0, 1 - 2**-24], {"patience": 1, "min_delta": 2**-25}
    assert drops(history, **options) == [1]
    assert drops(history, delta_at="best", **options) == []
    theirs = keras_plateau(mode="min", **options)("float64", np.array([history]))
    assert theirs["wait"].tolist() == [[0], [0]] and theirs["learning_rate"][1] < 0.1


def test_rel_delta_is_relative_to_the_best():
    options = {"patience": 1, "min_delta": 0.0, "rel_delta": 0.25}
    assert drops([4.0, 3.0, 2.9], **options) == [1]
    assert drops([4.0, 5.0, 5.1], mode="max", **options) == [1]


def test_metrics_that_are_equal_in_float32_do_not_improve():
    falling = [1.0, 1 - 1e-9, 1 - 2e-9]
    options = {"patience": 1, "min_delta": 0.0}
    assert drops(falling, **options) == [1, 2]
    assert drops(falling, compare_dtype="float64", **options) == []
    assert stop_at(falling)[0] == 1
    assert stop_at(falling, compare_dtype="float64")[0] is None


def test_a_first_nan_does_not_become_the_best():
    falling = [np.nan, 3.0, 2.0, 1.0, 0.5]
    assert drops(falling, patience=2) == []
    assert drops(falling, patience=2, first="any") == [2, 4]
    assert drops(falling, patience=2, first="worst") == []
    index, state = stop_at(falling, patience=2)
    assert (index, state.best.numpy(), state.best_epoch.numpy()) == (None, 0.5, 5)
    assert stop_at(falling, patience=2, first="any")[0] == 2


def test_a_first_infinity_becomes_the_best_unless_first_is_worst():
    endless = [np.inf, np.inf, np.inf, 1.0]
    assert drops(endless, patience=2) == [2]
    assert drops(endless, patience=2, first="worst") == [1]


@pytest.mark.parametrize("convention", ["keras", "torch", "optax"])
@pytest.mark.parametrize("mode", ["min", "max"])
def test_only_nan_values_count_as_no_improvement(convention, mode):
    assert len(drops([np.nan] * 12, patience=3, mode=mode, convention=convention)) >= 3
    assert stop_at([np.nan] * 12, patience=3, mode=mode)[0] == 2
    assert stop_at([np.nan] * 12, patience=0, mode=mode)[0] == 1


@pytest.mark.parametrize(
    ("names", "mode"),
    [
        ("loss val_loss mse val_mae mean_squared_error rmse top_5_error Val_Loss", "min"),
        ("binary_crossentropy kl_divergence huber poisson squared_hinge log_cosh", "min"),
        ("accuracy val_acc sparse_top_k_categorical_accuracy top_5 f1_score mean_iou", "max"),
        ("auc val_precision recall_at_precision r2_score sensitivity_at_specificity", "max"),
    ],
)
def test_the_direction_is_inferred_from_the_name(names, mode):
    assert {name: direction(name) for name in names.split()} == dict.fromkeys(names.split(), mode)


def test_the_direction_of_a_keras_metric_is_that_of_keras():
    makers = {
        name: maker
        for name in dir(keras.metrics)
        if isinstance(maker := getattr(keras.metrics, name), type)
        and issubclass(maker, keras.metrics.Metric)
    }
    known = {}
    for maker in makers.values():
        try:
            metric = maker()
            known[metric.name] = direction(metric.name), metric._direction
        except (TypeError, ValueError, AttributeError):
            continue  # It needs arguments, or its name or class states no direction.
    assert len(known) > 15
    for name, (ours, theirs) in known.items():
        assert theirs in ("up", "down", None)
        if theirs is not None:
            assert ours == {"up": "max", "down": "min"}[theirs], name


@pytest.mark.parametrize("name", ["cosine_similarity", "score", "", "accuracys", "lossy"])
def test_a_name_without_a_known_word_needs_a_mode(name):
    for make in (reduce_on_plateau, early_stop):
        with pytest.raises(ValueError, match=f"^cannot tell from the name '{name}' .*mode='min'"):
            make(name)
        make(name, mode="min")
