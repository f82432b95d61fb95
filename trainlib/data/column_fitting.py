"""Fit the rule for a column of a table to its training rows: numbers, categories or dates."""

from __future__ import annotations

import collections
import re

import numpy as np

from trainlib.data.archives import Array
from trainlib.data.cells import read_number
from trainlib.data.columns import DATE_FORMATS, CategoryColumn, Column, DateColumn, NumberColumn
from trainlib.data.frames import Frame, parse_dates
from trainlib.training.paths import printable

MAX_CATEGORIES = 100
"""Largest number of categories with an input: the most frequent ones, in two rows at least."""
MOSTLY = 0.9
"""Fraction of numbers from which other text in a column counts as a mistake."""
MANY_NUMBERS = 20
"""Number of different numbers above which other text in a column counts as a mistake, if the
numbers are half of the different texts."""
_LIKE_DATE = re.compile(
    r"(\d{1,4}[-./]\d{1,2}[-./]\d{1,4}"
    r"|\d{1,2}[- ][A-Za-z]{3,9}[- ]\d{4}|[A-Za-z]{3,9} \d{1,2}, \d{4})([ T].*)?"
)
_LIKE_NUMBER = re.compile(
    r"[$€£¥]?\s*[+-]?(\d{1,3}([.,'\s]\d{2,3})+([.,]\d+)?|\d+([.,]\d+)?)\s*[%$€£¥]?"
)
ROUNDING = 1e-3
"""Rounding error of float32, in standard deviations, from which the median is subtracted."""
_SAMPLE = 1000


def fit_column(frame: Frame, rows: Array, name: str) -> Column | str:
    """Return the rule for a column, or the reason for which it is left out.

    Args:
        frame: the table.
        rows: indices of the training rows, to which the rule is fitted.
        name: name of the column.

    Raises:
        ValueError: the column mixes numbers and other text, or several formats of dates.
    """
    values = frame.columns[name]
    if not name:
        return "it has no name"
    return (
        _fit_text(frame, rows, name) if values.dtype == object else _fit_numbers(name, values[rows])
    )


def _fit_numbers(name: str, values: Array) -> NumberColumn | str:
    """Return the rule for a column of numbers, or the reason for which it is left out."""
    missing = np.isnan(values)
    if missing.all():
        return "empty"
    given = values[~missing]
    median = float(np.median(given))
    rounding = float(np.abs(given).max()) * float(np.finfo(np.float32).eps)
    coarse = rounding > ROUNDING * float(given.std()) > 0
    return NumberColumn(name, median, bool(missing.any()), median if coarse else 0.0)


def _fit_text(frame: Frame, rows: Array, name: str) -> Column | str:
    """Return the rule for a column of text, or the reason for which it is left out."""
    cells = frame.columns[name][rows]
    given = [cell for cell in cells if cell is not None]
    if not given:
        return "empty"
    empty = len(given) < len(cells)
    if dates := _fit_dates(frame, rows, name):
        return dates
    _check_mixture(frame, name)
    counts = collections.Counter(given)
    if len(counts) == 1 and not empty:
        return "the same in every row"
    repeated = sorted((c for c in counts if counts[c] > 1), key=lambda c: (-counts[c], c))
    if not repeated:
        return "different in every row"
    categories = tuple(sorted(repeated[:MAX_CATEGORIES]))
    return CategoryColumn(name, categories, len(counts) - len(categories), empty)


def _check_mixture(frame: Frame, name: str) -> None:
    """Raise `ValueError` if many cells in a column of text are numbers."""
    given = [(row, cell) for row, cell in enumerate(frame.columns[name]) if cell is not None]
    numbers = sum(bool(_LIKE_NUMBER.fullmatch(cell)) for _, cell in given)
    different = {cell for _, cell in given}
    values = sum(read_number(cell, frame.decimal) is not None for cell in different)
    if numbers >= MOSTLY * len(given) or values > max(MANY_NUMBERS, len(different) / 2):
        row, cell = next(x for x in given if read_number(x[1], frame.decimal) is None)
        raise ValueError(
            f"{frame.cell(name, row)}: {printable(cell)!r} is not a number, but many cells of the "
            "column are; write numbers as 1234.5, or remove the row or the column"
        )


def _fit_dates(frame: Frame, rows: Array, name: str) -> DateColumn | None:
    """Return the rule for a column of dates; None unless all cells are dates of one format.

    Raises:
        ValueError: two formats fit, but give different dates.
    """
    cells = frame.columns[name][rows]
    missing = np.array([cell is None for cell in cells])
    given = cells[~missing]
    if not all(_LIKE_DATE.fullmatch(cell) for cell in given):
        return None
    likely = [f for f in DATE_FORMATS if not np.isnan(parse_dates(given[:_SAMPLE], f)).any()]
    found = {form: parse_dates(given, form) for form in likely}
    found = {form: days for form, days in found.items() if not np.isnan(days).any()}
    if not found:
        _check_one_format(frame, name, given)
        return None
    form, days = next(iter(found.items()))
    if any(not np.array_equal(days, other) for other in found.values()):
        first = int(rows[int(np.argmin(missing))])
        raise ValueError(
            f"{frame.cell(name, first)}: the day or the month may be first in the dates of the "
            "column; write dates as YYYY-MM-DD"
        )
    has_time = bool((days % 1).any())
    return DateColumn(name, form, float(np.floor(np.median(days))), has_time, bool(missing.any()))


def _check_one_format(frame: Frame, name: str, given: Array) -> None:
    """Raise `ValueError` if the dates in a column have several formats."""
    known = {form: ~np.isnan(parse_dates(given[:_SAMPLE], form)) for form in DATE_FORMATS}
    if np.any(list(known.values()), axis=0).all():
        first = next(form for form, valid in known.items() if valid[0])
        other = given[:_SAMPLE][~known[first]]
        if len(other):
            row = list(frame.columns[name]).index(other[0])
            raise ValueError(
                f"{frame.cell(name, row)}: the date {printable(other[0])!r} has another form than "
                f"{printable(given[0])!r} before it; write dates as YYYY-MM-DD"
            )
