"""Cells of a table: numbers and their decimal mark."""

from __future__ import annotations

import pytest

from trainlib.data.cells import COMMA, POINT, read_number, to_number


@pytest.mark.parametrize(
    ("cell", "point", "comma"),
    [
        ("12", 12, 12),
        ("-3e2", -300, -300),
        ("1.5", 1.5, None),
        ("1,5", None, 1.5),
        ("1.000", 1, 1000),
        ("1,000", 1000, 1),
        ("1.234.567", None, 1234567),
        ("1,234,567.25", 1234567.25, None),
        ("-1.234,5", None, -1234.5),
        ("0.125", 0.125, None),
        ("1234,567", None, 1234.567),
        ("12,34.5", None, None),
        ("1.5e3", 1500, None),
        ("1,5e3", None, 1500),
        ("1_000", None, None),
        ("inf", None, None),
        ("nan", None, None),
        ("", None, None),
        ("x", None, None),
    ],
)
def test_a_number_has_one_value_for_each_decimal_mark(
    cell: str, point: float | None, comma: float | None
) -> None:
    assert read_number(cell, POINT) == read_number(cell, None) == point
    assert read_number(cell, COMMA) == comma


@pytest.mark.parametrize("cell", ["x", "", "1_000", "1 2", "inf", "1e999"])
def test_what_is_not_a_finite_number_is_none(cell: str) -> None:
    assert to_number(cell) is None
