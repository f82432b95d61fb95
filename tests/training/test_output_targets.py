"""Targets and weights by output, read from arrays and batches."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import trainlib as tl
from trainlib.losses import LossByOutput, mean_squared_error
from trainlib.metrics import OutputMetric
from trainlib.training.output_targets import reader_of, with_class_weights

X, A, B = np.zeros([4, 2]), np.arange(4.0), np.arange(4.0, 8.0)
CLASSES = np.array([0, 1, 2, 1])


def config_of(losses=None, metrics=(), by_order=True):
    losses = losses or {"main": mean_squared_error, "aux": mean_squared_error}
    found = {name: OutputMetric(name, tl.metrics.accuracy) for name in metrics}
    return tl.StepConfig(lambda *_: None, LossByOutput(losses, by_order=by_order), metrics=found)


READ = reader_of(config_of())
ONE = config_of({"main": mean_squared_error, "aux": None})


def lists(read):
    return [
        {k: np.asarray(v).tolist() for k, v in part.items()}
        if isinstance(part, dict)
        else np.asarray(part).tolist()
        for part in read[1:]
    ]


@pytest.mark.parametrize("y", [[A, B], (A, B), {"aux": B, "main": A}])
def test_targets_are_taken_by_name_or_in_order(y):
    assert lists(READ("data", (X, y))) == [{"main": A.tolist(), "aux": B.tolist()}]


def test_what_was_read_is_read_again_unchanged():
    read = READ("data", (X, [A, B], [None, B]))
    assert lists(READ("data", read)) == lists(read)


def test_outputs_without_a_loss_need_targets_for_their_metrics_only():
    for y in (A, [A], {"main": A}, [A, B], [A, None], {"main": A, "aux": None}):
        assert lists(reader_of(ONE)("data", (X, y))) == [{"main": A.tolist()}]
    both = reader_of(config_of(ONE.loss_fn.losses, metrics=["aux"]))
    assert lists(both("data", (X, [A, B]))) == [{"main": A.tolist(), "aux": B.tolist()}]


def test_weights_are_for_all_outputs_or_by_output():
    assert lists(READ("data", (X, [A, B], B[:, None])))[1] == B.tolist()
    for weight in ([B, None], {"main": B}, {"main": pd.Series(B)}):
        expected = {"main": B.tolist(), "aux": [1.0] * 4}
        assert lists(READ("data", (X, [A, B], weight)))[1] == expected
    assert lists(READ("data", (X, [A, B], None))) == lists(READ("data", (X, [A, B])))


@pytest.mark.parametrize(
    ("y", "weight", "message"),
    [
        (A, (), "^y of data is one array, but outputs main, aux need targets each"),
        ([A], (), "^y of data has 1 entries, but the model has 2 outputs"),
        ({"main": A, "axu": B}, (), "^y of data has an entry for 'axu', .*did you mean 'aux'"),
        ({"main": A}, (), "^y of data has no entry for output 'aux'"),
        ([A, None], (), "^y of data is None for output 'aux'"),
        ([A, B], ({"man": A},), "^sample_weight of data has an entry for 'man', .* mean 'main'"),
        ([A, B], ([A, A, A],), "^sample_weight of data has 3 entries"),
    ],
)
def test_other_targets_and_weights_are_refused(y, weight, message):
    with pytest.raises(ValueError, match=message):
        READ("data", (X, y, *weight))


def test_classes_have_weights_by_output():
    config = config_of()
    for class_weight in ({"aux": {0: 2.0, 1: 0.5}}, [None, {0: 2.0, 1: 0.5}]):
        read = with_class_weights(class_weight, READ, config)
        weights = lists(read("data", (X, [A, CLASSES])))[1]
        assert weights == {"main": [1.0] * 4, "aux": [2.0, 0.5, 1.0, 0.5]}
        weights = lists(read("data", (X, [A, CLASSES], B)))[1]
        assert weights == {"main": B.tolist(), "aux": (B * [2, 0.5, 1, 0.5]).tolist()}


@pytest.mark.parametrize(
    ("class_weight", "error", "message"),
    [
        ({0: 2.0}, ValueError, "must have an entry for an output, as in {'main': {0: 1.0"),
        ({"axu": {0: 2.0}}, ValueError, "^class_weight has an entry for 'axu', .* mean 'aux'"),
        ({"aux": {0: 2.0}, "main": 3.0}, TypeError, "^class_weight must map classes to weights"),
    ],
)
def test_other_weights_of_classes_are_refused(class_weight, error, message):
    with pytest.raises(error, match=message):
        with_class_weights(class_weight, READ, config_of())


def test_classes_of_one_output_have_weights():
    config = tl.StepConfig(lambda *_: None, mean_squared_error)
    read = with_class_weights({0: 2.0}, reader_of(config), config)
    assert lists(read("data", (X, CLASSES)))[1] == [2.0, 1.0, 1.0, 1.0]
    with pytest.raises(TypeError, match=r"^class_weight must map .* got \[2.0\]"):
        with_class_weights([2.0], reader_of(config), config)
