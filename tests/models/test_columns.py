"""Columns of a table that a hyperparameter names."""

from __future__ import annotations

import pytest

from trainlib.models import parse_columns

NAMES = {"age": (2,), "kind": (3, 4), "5": (0,)}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0-2", (0, 1, 2)),
        ("4, 0", (4, 0)),
        ("kind,age,0", (3, 4, 2, 0)),
        ("5", (0,)),
    ],
)
def test_columns_are_positions_ranges_and_names(text, expected):
    assert parse_columns("x_columns", text, 5, NAMES) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ages", "x_columns must be written as in 0-4 .* with the columns age, kind"),
        ("0-5", "x_columns must be of the columns 0 to 4"),
        ("2,age", "x_columns must name a column once"),
    ],
)
def test_other_columns_are_refused(text, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        parse_columns("x_columns", text, 5, NAMES)
