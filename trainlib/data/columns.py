"""Rules of the columns of a table: numbers, categories and dates as inputs of a model."""

from __future__ import annotations

import collections
import re
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

from trainlib.core.checks import first_of
from trainlib.data.archives import Array
from trainlib.data.cells import read_number
from trainlib.data.frames import Frame, parse_dates
from trainlib.training.paths import printable

MAX_CATEGORIES = 100
"""Categories of a column that have an input: the most frequent, each in two rows or more."""
MOSTLY = 0.9
"""Fraction of numbers from which a column with some other text is refused as a likely mistake."""
MANY_NUMBERS = 20
"""So is a column with more different numbers than this, if they are half of its different texts."""

_DAY = (
    *("%Y-%m-%d", "%Y/%m/%d", "%d.%m.%Y", "%m/%d/%Y", "%d/%m/%Y"),
    *("%d-%b-%Y", "%d %b %Y", "%d %B %Y", "%b %d, %Y", "%B %d, %Y"),
)
DATE_FORMATS = ("ISO8601", *(day + time for time in ("", " %H:%M", " %H:%M:%S") for day in _DAY))
_LIKE_DATE = re.compile(
    r"(\d{1,4}[-./]\d{1,2}[-./]\d{1,4}"
    r"|\d{1,2}[- ][A-Za-z]{3,9}[- ]\d{4}|[A-Za-z]{3,9} \d{1,2}, \d{4})([ T].*)?"
)
_LIKE_NUMBER = re.compile(
    r"[$€£¥]?\s*[+-]?(\d{1,3}([.,'\s]\d{2,3})+([.,]\d+)?|\d+([.,]\d+)?)\s*[%$€£¥]?"
)
ROUNDING = 1e-3
"""Rounding error of float32, in standard deviations, from which numbers lose their median."""
_SAMPLE = 1000
_YEAR, _WEEK = 365.2425, 7.0
"""Days."""


class Encoded(NamedTuple):
    """Inputs of a model.

    Attributes:
        x: float64 [N, inputs].
        notes: what was unlike the training rows, one line for each column.
    """

    x: Array
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class NumberColumn:
    """A column of numbers, which is one input; an empty cell becomes the median.

    Attributes:
        name: name of the column.
        median: median of the training rows.
        empty: whether training rows have empty cells: then a second input is 1 for these.
        origin: number that is subtracted: the median of large numbers that differ little, such as
            times in seconds, whose differences float32 would round away; else 0.
    """

    name: str
    median: float
    empty: bool = False
    origin: float = 0.0
    kind: ClassVar[str] = "numbers"

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the inputs."""
        return (self.name, *_empty_input(self))

    @property
    def scaled(self) -> tuple[bool, ...]:
        """Whether each input is a quantity, to be standardized, and not an indicator."""
        return (True, *(False for _ in _empty_input(self)))

    def encode(self, frame: Frame) -> Encoded:
        """Return the inputs of a frame's rows."""
        values = frame.columns[self.name]
        if values.dtype == object:
            row = next(
                i
                for i, x in enumerate(values)
                if x is not None and read_number(x, frame.decimal) is None
            )
            raise ValueError(
                f"{frame.cell(self.name, row)}: {printable(values[row])!r} is not a number"
            )
        if np.isinf(values).any():
            row = int(np.argmax(np.isinf(values)))
            raise ValueError(f"{frame.cell(self.name, row)}: the number is infinite; replace it")
        missing = np.isnan(values)
        x = [np.where(missing, self.median, values) - self.origin]
        x += [missing] if self.empty else []
        note = "" if self.empty else _empty_note(self.name, missing, "the median takes their place")
        return Encoded(np.stack(x, 1).astype(np.float64), (note,) if note else ())


@dataclass(frozen=True)
class CategoryColumn:
    """A column of text, which is one input of 0 and 1 for each category.

    Attributes:
        name: name of the column.
        categories: categories of the training rows that have an input, in alphabetical order.
        other: how many more of them there are: if any, one input is 1 for all others.
        empty: whether training rows have empty cells: then one input is 1 for these.
    """

    name: str
    categories: tuple[str, ...]
    other: int = 0
    empty: bool = False
    kind: ClassVar[str] = "categories"

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the inputs."""
        others = (f"{self.name}=(other)",) if self.other else ()
        named = (f"{self.name}={category}" for category in self.categories)
        return (*named, *others, *_empty_input(self))

    @property
    def scaled(self) -> tuple[bool, ...]:
        """Whether each input is a quantity, to be standardized, and not an indicator."""
        return (False,) * len(self.inputs)

    def encode(self, frame: Frame) -> Encoded:
        """Return the inputs of a frame's rows."""
        cells = frame.columns[self.name]
        index = {category: k for k, category in enumerate(self.categories)}
        count = len(self.inputs)
        unknown = len(index) if self.other else count
        places = np.array(
            [
                (count - 1 if self.empty else count) if x is None else index.get(x, unknown)
                for x in cells
            ]
        )
        x = np.eye(count + 1)[places, :count]  # the last place is that of no category
        new = [] if self.other else sorted({c for c in cells if c is not None and c not in index})
        notes = []
        if new:
            known = first_of([*map(printable, new)], 3)
            rows = int(np.isin(cells.astype(str), new).sum())
            notes.append(
                f"column {self.name!r}: {rows} cells hold categories that are new: {known}"
            )
        missing = np.array([x is None for x in cells])
        if note := "" if self.empty else _empty_note(self.name, missing, "no category is theirs"):
            notes.append(note)
        return Encoded(x, tuple(notes))


@dataclass(frozen=True)
class DateColumn:
    """A column of dates: days, and the sine and cosine of the time of year and of the week.

    Dates without a time zone are in UTC. An empty cell becomes the origin, with 0 for the rest.

    Attributes:
        name: name of the column.
        format: one of `DATE_FORMATS`.
        origin: the day that is 0, counted from 1970: the median of the training rows.
        time: whether training rows have a time of day: then its sine and cosine are inputs too.
        empty: whether training rows have empty cells: then a last input is 1 for these.
    """

    name: str
    format: str
    origin: float
    time: bool = False
    empty: bool = False
    kind: ClassVar[str] = "dates"

    @property
    def periods(self) -> dict[str, float]:
        """Periods of the cycles that are inputs, in days."""
        return {"year": _YEAR, "week": _WEEK, **({"day": 1.0} if self.time else {})}

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the inputs."""
        cycles = (f"{self.name}={f}({p})" for p in self.periods for f in ("sin", "cos"))
        return (f"{self.name}=days", *cycles, *_empty_input(self))

    @property
    def scaled(self) -> tuple[bool, ...]:
        """Whether each input is a quantity, to be standardized, and not an indicator."""
        return (True,) + (False,) * (len(self.inputs) - 1)

    def encode(self, frame: Frame) -> Encoded:
        """Return the inputs of a frame's rows."""
        cells = frame.columns[self.name]
        days = parse_dates(cells, self.format)
        missing = np.array([x is None for x in cells])
        if (bad := np.isnan(days) & ~missing).any():
            row = int(np.argmax(bad))
            form = "YYYY-MM-DD" if self.format == DATE_FORMATS[0] else self.format
            raise ValueError(
                f"{frame.cell(self.name, row)}: {printable(cells[row])!r} is not a date of the "
                f"form {form}"
            )
        days = np.where(missing, self.origin, days)
        x = [days - self.origin]
        for period in self.periods.values():
            angle = 2 * np.pi * days / period
            x += [np.where(missing, 0, f(angle)) for f in (np.sin, np.cos)]
        if self.empty:
            x.append(missing.astype(np.float64))
        note = "" if self.empty else _empty_note(self.name, missing, "the median takes their place")
        return Encoded(np.stack(x, 1), (note,) if note else ())


Column = NumberColumn | CategoryColumn | DateColumn


def fit_column(frame: Frame, rows: Array, name: str) -> Column | str:
    """Return the rule of a column, or why it is left out.

    Args:
        frame: the table.
        rows: indices of the training rows, from which the statistics are taken.
        name: name of the column.

    Raises:
        ValueError: the column mixes numbers and text, or forms of dates.
    """
    values = frame.columns[name]
    if not name:
        return "it has no name"
    return (
        _fit_text(frame, rows, name) if values.dtype == object else _fit_numbers(name, values[rows])
    )


def _fit_numbers(name: str, values: Array) -> NumberColumn | str:
    """Return the rule of a column of numbers, or why it is left out."""
    missing = np.isnan(values)
    if missing.all():
        return "empty"
    given = values[~missing]
    median = float(np.median(given))
    rounding = float(np.abs(given).max()) * float(np.finfo(np.float32).eps)
    coarse = rounding > ROUNDING * float(given.std()) > 0
    return NumberColumn(name, median, bool(missing.any()), median if coarse else 0.0)


def _fit_text(frame: Frame, rows: Array, name: str) -> Column | str:
    """Return the rule of a column of text, or why it is left out."""
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
    """Raise `ValueError` for a column of text in which many cells are numbers."""
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
    """Return the rule of a column of dates; None if not every cell is a date of one format.

    Raises:
        ValueError: two formats fit, with different dates.
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
    """Raise `ValueError` for a column of dates in several formats."""
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


def _empty_input(column: Any) -> tuple[str, ...]:
    """Return the name of the input that says which cells of a column are empty, if there is one."""
    return (f"{column.name}=(empty)",) if column.empty else ()


def _empty_note(name: str, missing: Array, what: str) -> str:
    """Return a note on empty cells in a column that had none in training; "" without any."""
    count = int(missing.sum())
    return f"column {name!r}: {count} empty cells, training had none: {what}" if count else ""
