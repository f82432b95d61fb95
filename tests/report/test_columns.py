"""Columns of a history: which there are, and which epoch is the best."""

from __future__ import annotations

import numpy as np
import pytest

from trainlib.report import columns
from trainlib.report.columns import BestEpoch

NAN, INF = float("nan"), float("inf")


def make_history(**named):
    """A history with these columns."""
    rows = zip(*named.values(), strict=True)
    return [
        {"epoch": k, "step": 4 * k, **dict(zip(named, row, strict=True))}
        for k, row in enumerate(rows, 1)
    ]


def test_results_that_are_not_numbers_are_left_out():
    given = make_history(
        loss=[1.0], confusion_matrix=[[[1, 2], [3, 4]]], overflowed=["a/b"], on=[True]
    )
    assert columns.result_names(given) == ["loss"]


def test_epochs_that_lack_a_result_are_gaps():
    given = [{"epoch": 1, "loss": 1.0, "val_loss": None}, {"epoch": 2, "loss": 2.0}]
    assert columns.result_names(given) == ["loss"]
    np.testing.assert_array_equal(columns.column(given, "val_loss"), [NAN, NAN])
    assert not columns.has_column(given, "val_loss")


@pytest.mark.parametrize(
    ("name", "values", "expected"),
    [
        ("loss", [2.0, 1.0, 1.0], BestEpoch(2, 1.0)),
        ("val_accuracy", [0.5, 0.75, 0.75], BestEpoch(2, 0.75)),
        ("loss", [NAN, INF, 3.0], BestEpoch(3, 3.0)),
        ("loss", [NAN, INF], None),
        ("weirdness", [1.0], None),
    ],
)
def test_the_best_epoch_is_the_first_with_the_best_finite_value(name, values, expected):
    assert columns.best_epoch(make_history(**{name: values}), name) == expected


def test_the_best_epoch_of_a_run_is_that_of_the_validation_loss_if_there_is_one():
    both = make_history(loss=[2.0, 1.0], val_loss=[3.0, 4.0])
    assert columns.best_by_loss(both) == (BestEpoch(1, 3.0), "val_loss")
    assert columns.best_by_loss(make_history(loss=[2.0, 1.0])) == (BestEpoch(2, 1.0), "loss")
