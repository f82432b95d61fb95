"""The column to predict: classes or numbers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from trainlib.data.frames import Frame
from trainlib.data.labels import class_name, encode_labels, fit_labels, with_targets


def frame(cells: Sequence[str | None]) -> Frame:
    """A table whose only column is its target."""
    column = np.array(cells, object)
    return Frame(Path("t.csv"), "y", {"y": column}, range(2, len(column) + 2))


@pytest.mark.parametrize(
    ("cells", "classes", "y"),
    [
        (["low", "high", "low"], ("high", "low"), [1, 0, 1]),
        (["True", "False", "True"], ("False", "True"), [1, 0, 1]),
        (["1", "0", "1", "0"], ("0", "1"), [1, 0, 1, 0]),
        (["-1", "1", "-1"], ("-1", "1"), [0, 1, 0]),
        (["10", "9", "2"] * 2, ("2", "9", "10"), [2, 1, 0] * 2),
        ([str(k) for k in range(30)] * 2, tuple(map(str, range(30))), [*range(30)] * 2),
    ],
)
def test_text_and_few_integers_are_classes(cells, classes, y):
    labels = fit_labels(frame(cells))
    assert (labels.classes, labels.y.tolist(), labels.y.dtype) == (classes, y, np.int32)
    why = f"{len(classes)} classes, because 'y' holds {len(classes)} different integers"
    assert labels.guess == (why if cells[0].lstrip("-").isdigit() else "")


@pytest.mark.parametrize(
    "cells",
    [
        ["1.0", "0", "1"],
        ["1e0", "0", "1"],
        ["1", "2", "3"],
        [str(20 + k) for k in range(30)] * 2,
        [*map(str, range(30))],
    ],
)
def test_other_numbers_are_numbers(cells):
    labels = fit_labels(frame(cells))
    assert labels.classes == ()
    assert labels.y.tolist() == [float(cell) for cell in cells]
    kinds = {"1": "3", "20": "30", "0": "30"}
    why = f"regression, because 'y' holds {kinds.get(cells[0])} different integers"
    assert labels.guess == (why if cells[0] in kinds else "")


def test_a_stated_task_is_no_guess():
    ages = frame(["20", "35", "20.0", "7"])
    assert fit_labels(ages, "regression").y.tolist() == [20, 35, 20, 7]
    labels = fit_labels(ages, "classification")
    assert (labels.classes, labels.y.tolist()) == (("7", "20", "35"), [1, 2, 1, 0])
    assert labels.guess == fit_labels(ages, "regression").guess == ""


@pytest.mark.parametrize(
    ("cells", "task", "message"),
    [
        (["a", "a"], "auto", "column 'y' is 'a' in every row"),
        (["a", "1"], "regression", "line 2, column 'y': 'a' is not a finite number"),
        (["1", "inf"], "regression", "line 3, column 'y': 'inf' is not a finite number"),
        ([f"text {k}" for k in range(50)], "auto", "50 different texts in 50 rows, too many"),
        (["0.5", "1"], "classification", "holds 0.5, but classes are text or integers"),
        (["0", "1"], "ranking", "unknown task 'ranking'"),
    ],
)
def test_columns_that_do_not_suit_the_task_are_refused(cells, task, message):
    with pytest.raises(ValueError, match=message):
        fit_labels(frame(cells), task)


def test_labels_of_another_table_are_those_of_the_known_classes():
    assert encode_labels(frame(["b", "a"]), ("a", "b", "c")).tolist() == [1, 0]
    assert encode_labels(frame(["2.0", "01"]), ("1", "2")).tolist() == [1, 0]
    assert encode_labels(frame(["2.5"]), ()).tolist() == [2.5]
    with pytest.raises(ValueError, match="line 3, column 'y': the class 'd' is not known; the cl"):
        encode_labels(frame(["a", "d"]), ("a", "b"))


def test_rows_without_a_target_are_left_out():
    kept, note = with_targets(frame(["1", None, "NA", "0"]))
    assert (kept.columns["y"].tolist(), list(kept.lines)) == (["1", "0"], [2, 5])
    assert note == "2 of 4 rows left out: no y"
    kept, note = with_targets(frame(["None", "mild", None]))
    assert kept.columns["y"].tolist() == ["None", "mild"]
    assert with_targets(frame(["a"]))[1] == ""
    table = frame(["1", "2", None])
    table = table._replace(columns={**table.columns, "a": np.array(["1.5", "2", "total"], object)})
    assert with_targets(table)[0].columns["a"].tolist() == [1.5, 2.0]
    assert with_targets(table, ["a"])[0].columns["a"].tolist() == ["1.5", "2"]
    with pytest.raises(ValueError, match="column 'y' is empty"):
        with_targets(frame([None, "nan"]))
    with pytest.raises(ValueError, match="target is 'z', .* give one of y"):
        with_targets(frame(["a"])._replace(target="z"))


def test_a_class_has_one_name_however_it_is_written():
    assert [class_name(x) for x in ("1", "01", "+1", "1.0", "1.5", "a1")] == [
        *["1"] * 4,
        "1.5",
        "a1",
    ]


def test_integers_too_long_for_a_float_stay_different_classes():
    cells = ["20240000000000001", "20240000000000002"]
    assert [class_name(cell) for cell in (*cells, "+007", "7.0")] == [*cells, "7", "7"]
