"""The range test of a configuration."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.experiments import experiment

from trainlib.experiment.model_building import build_models
from trainlib.experiment.range_test import find_learning_rate, is_rate_auto, with_learning_rate
from trainlib.experiment.task_building import build_task
from trainlib.tools.loss_curve import RangeTest


def test_a_learning_rate_is_found_without_changing_the_model():
    config = experiment("--hidden=8", "--execution=graph")
    task = build_task(config)
    built = build_models(config, task)
    before = [np.array(v) for v in built.full.variables]
    steps = []
    result = find_learning_rate(
        config, task, built, lambda *step: steps.append(step), RangeTest(max_steps=50)
    )
    assert len(steps) == len(result.rates) <= 51
    for variable, value in zip(built.full.variables, before, strict=True):
        np.testing.assert_array_equal(variable, value)


@pytest.mark.parametrize(
    ("flags", "expected"),
    [((), False), (("--learning_rate=auto",), True), (("--learning_rate=0.1",), False)],
)
def test_a_learning_rate_is_found_only_if_it_is_auto(flags, expected):
    assert is_rate_auto(experiment(*flags)) == expected


def test_a_learning_rate_replaces_auto_and_nothing_else():
    config = experiment("--learning_rate=auto", "--beta_1=0.5", "--seed=3")
    found = with_learning_rate(config, 0.25)
    assert found == experiment("--learning_rate=0.25", "--beta_1=0.5", "--seed=3")
