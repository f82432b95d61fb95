"""Rules for the columns of a table: numbers, categories and dates as inputs of a model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

from trainlib.core.checks import first_of
from trainlib.data.archives import Array
from trainlib.data.cells import read_number
from trainlib.data.frames import Frame, parse_dates
from trainlib.training.paths import printable

_DAY = (
    *("%Y-%m-%d", "%Y/%m/%d", "%d.%m.%Y", "%m/%d/%Y", "%d/%m/%Y"),
    *("%d-%b-%Y", "%d %b %Y", "%d %B %Y", "%b %d, %Y", "%B %d, %Y"),
)
DATE_FORMATS = ("ISO8601", *(day + time for time in ("", " %H:%M", " %H:%M:%S") for day in _DAY))
_YEAR, _WEEK = 365.2425, 7.0
"""Days."""


class Encoded(NamedTuple):
    """Inputs of a model.

    Attributes:
        x: the inputs, float64 [N, inputs].
        notes: lines on differences from the training rows.
    """

    x: Array
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class NumberColumn:
    """A column of numbers: one input. An empty cell becomes the median.

    Attributes:
        name: name of the column.
        median: median of the training rows.
        empty: whether training rows have empty cells; a second input is then 1 for empty cells.
        origin: number that is subtracted: the median, for large numbers with small differences that
            float32 would round away, such as times in seconds; else 0.
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
    """A column of text: one-hot inputs, one for each category.

    Attributes:
        name: name of the column.
        categories: categories with an input, in alphabetical order.
        other: number of further categories in the training rows; if above 0, they share an input.
        empty: whether training rows have empty cells; an input is then 1 for empty cells.
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

    Dates without a time zone are in UTC. For an empty cell the inputs are 0.

    Attributes:
        name: name of the column.
        format: one of `DATE_FORMATS`.
        origin: day that is subtracted, counted from 1970: the median of the training rows.
        time: whether training rows have a time of day; its sine and cosine are then inputs, too.
        empty: whether training rows have empty cells; a last input is then 1 for empty cells.
    """

    name: str
    format: str
    origin: float
    time: bool = False
    empty: bool = False
    kind: ClassVar[str] = "dates"

    @property
    def periods(self) -> dict[str, float]:
        """Periods of the sines and cosines, in days."""
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


def _empty_input(column: Any) -> tuple[str, ...]:
    """Return the name of the input that marks empty cells, as a tuple; () for none."""
    return (f"{column.name}=(empty)",) if column.empty else ()


def _empty_note(name: str, missing: Array, what: str) -> str:
    """Return a note on empty cells in a column that had none in training; "" if there are none."""
    count = int(missing.sum())
    return f"column {name!r}: {count} empty cells, training had none: {what}" if count else ""
