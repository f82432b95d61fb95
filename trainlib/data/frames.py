"""Tables read into columns of numbers and of text.

A table of plain numbers is read without pandas; empty cells, text, dates and Parquet need it.
"""

from __future__ import annotations

import contextlib
import csv
import math
import re
from array import array
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from trainlib.data.tables import (
    DAMAGE,
    Array,
    check_cells,
    check_names,
    no_rows,
    open_text,
    parse_number,
    require_file,
)
from trainlib.training.paths import shown

MISSING = ("", "NA", "N/A", "n/a", "NaN", "nan", "NULL", "null", "None", "<NA>", "#N/A", "?")
"""Cells that count as empty. In the target column a text such as "None" is a class, not empty."""
DELIMITERS = (",", ";", "\t", "|")
PARQUET = ".parquet"

_SAMPLE_CHARACTERS = 1 << 16
_BOOLEANS = {
    **dict.fromkeys(("True", "TRUE", "true"), 1.0),
    **dict.fromkeys(("False", "FALSE", "false"), 0.0),
}
_DECIMAL_COMMA = re.compile(r"[+-]?(\d{1,3}(\.\d{3})+|\d+)(,\d+)?([eE][+-]?\d+)?")


class Frame(NamedTuple):
    """Columns of a table with N rows.

    Attributes:
        path: its file.
        target: name of the column to predict; the table may lack it.
        columns: columns by name, "" for a first one without a name: float64 [N] with NaN for empty
            cells, or text [N], an object array of `str` with None for empty cells. The target is
            text.
        lines: line of each row in the file, from 1; of a Parquet file, the number of the row.
    """

    path: Path
    target: str
    columns: Mapping[str, Array]
    lines: Sequence[int]

    @property
    def name(self) -> str:
        """Name of the file, for messages."""
        return shown(self.path)

    @property
    def size(self) -> int:
        """Number of rows."""
        return len(self.lines)

    def cell(self, name: str, row: int) -> str:
        """Return where a cell is, for messages."""
        place = "row" if self.path.name.lower().endswith(PARQUET) else "line"
        return f"{self.name}, {place} {self.lines[row]}, column {name!r}"

    def rows(self, indices: Array) -> Frame:
        """Return the frame with these rows only."""
        columns = {name: values[indices] for name, values in self.columns.items()}
        return self._replace(columns=columns, lines=[self.lines[i] for i in indices])


class _Scan(NamedTuple):
    """What a first pass over a text file finds.

    Attributes:
        delimiter: what separates its cells.
        names: the names in its header; "" for a first column without one.
        target: name of the column to predict.
        lines: line of each row.
        columns: the columns, if those that need not be text are plain numbers; else None.
    """

    delimiter: str
    names: tuple[str, ...]
    target: str
    lines: Sequence[int]
    columns: dict[str, Array] | None


def read_frame(path: Path, target: str | None = None, text: Collection[str] = ()) -> Frame:
    """Read the columns of a table.

    Args:
        path: a file in UTF-8 whose cells are separated by commas, semicolons, tabs or bars, with a
            header; compressed with gzip if its name ends in .gz. Or a Parquet file.
        target: the column to predict. Default: None, the last.
        text: names of columns that are text whatever they hold. Default: none but the target.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged, has no valid header, a row of another length or no rows; or
            pandas is needed and not installed.
    """
    require_file(path)
    if path.name.lower().endswith(PARQUET):
        return _read_parquet(path, target, text)
    try:
        scan = _scan(path, target, text)
        columns = scan.columns
        if columns is None:
            columns = _read_with_pandas(path, scan, {scan.target, *text})
    except (*DAMAGE, UnicodeDecodeError, csv.Error) as error:
        raise ValueError(
            f"{shown(path)} cannot be read as a table ({error}); give comma-separated text in UTF-8"
        ) from error
    return Frame(path, scan.target, columns, scan.lines)


def require_pandas(path: Path, reason: str) -> Any:
    """Return the module pandas.

    Raises:
        ValueError: it is not installed.
    """
    try:
        import pandas
    except ImportError:
        raise ValueError(
            f"{shown(path)}: {reason}, which needs pandas: pip install pandas"
        ) from None
    return pandas


def parse_dates(cells: Array, format: str) -> Array:
    """Return dates as days since 1970, NaN for cells that are empty or not in that format.

    Args:
        cells: text [N].
        format: a format of `strptime`, or "ISO8601".
    """
    pandas = require_pandas(Path(), "a column has dates")
    series = pandas.Series(cells, dtype=object)
    times = pandas.to_datetime(series, format=format, errors="coerce", utc=True)
    epoch = pandas.Timestamp("1970-01-01", tz="UTC")
    days: Array = ((times - epoch) / pandas.Timedelta(days=1)).to_numpy(np.float64)
    return days


def is_number(cell: str) -> bool:
    """Return whether a cell is a finite number."""
    try:
        return math.isfinite(parse_number(cell))
    except ValueError:
        return False


def _scan(path: Path, target: str | None, text: Collection[str]) -> _Scan:
    """Check the header and every row, and read the numbers as long as there is nothing else.

    Raises:
        ValueError: the header or a row is not valid.
    """
    delimiter = _delimiter(path)
    lines = array("q")
    with open_text(path) as stream:
        reader = csv.reader(stream, delimiter=delimiter, skipinitialspace=True, strict=True)
        records = filter(None, reader)
        names = tuple(name.strip() for name in next(records, []))
        check_names(path, names[1:] if names[:1] == ("",) else names)
        chosen = names[-1] if names and target is None else str(target)
        cells: dict[str, Any] | None = {
            name: [] if name == chosen or name in text else array("d") for name in names
        }
        for record in records:
            check_cells(path, reader.line_num, record, names)
            lines.append(reader.line_num)
            if cells is not None and not _append(cells, record):
                cells = None
    if not lines:
        raise no_rows(path)
    columns = None if cells is None else {n: _as_array(x, n == chosen) for n, x in cells.items()}
    return _Scan(delimiter, names, chosen, lines, columns)


def _delimiter(path: Path) -> str:
    """Return the delimiter that gives the first lines of a file the most cells of equal number."""
    with open_text(path) as stream:
        start = stream.read(_SAMPLE_CHARACTERS)

    def rank(delimiter: str) -> tuple[bool, int]:
        widths = []
        with contextlib.suppress(csv.Error):
            for record in csv.reader(start.splitlines(keepends=True), delimiter=delimiter):
                widths += [len(record)] if record else []
        if len(start) == _SAMPLE_CHARACTERS and len(widths) > 1:
            del widths[-1]  # it may be cut off
        first = widths[0] if widths else 1
        return set(widths) == {first} and first > 1, first

    return max(DELIMITERS, key=rank)


def _append(cells: Mapping[str, Any], record: Sequence[str]) -> bool:
    """Append a record to the columns; return False at a cell that should be a number and is not."""
    for values, cell in zip(cells.values(), record, strict=True):
        if isinstance(values, list):
            values.append(cell)
        elif is_number(cell):
            values.append(float(cell))
        else:
            return False
    return True


def _as_array(values: Any, is_target: bool) -> Array:
    return _as_text(values, is_target) if isinstance(values, list) else np.array(values)


def _as_text(cells: Sequence[Any], is_target: bool) -> Array:
    """Return cells as text without spaces around it, None for those that are empty."""
    empty = ("",) if is_target else MISSING
    found = np.empty(len(cells), object)
    for i, cell in enumerate(cells):
        text = "" if cell is None or cell != cell else str(cell).strip()
        found[i] = None if text in empty else text
    return found


def _read_with_pandas(path: Path, scan: _Scan, text: Collection[str]) -> dict[str, Array]:
    """Return the columns of a text file."""
    pandas = require_pandas(path, "it has text or empty cells")
    names = list(scan.names)
    with open_text(path) as stream:
        table = pandas.read_csv(
            stream,
            sep=scan.delimiter,
            names=names,
            header=0,
            index_col=False,
            dtype=str,
            na_values=[""],
            keep_default_na=False,
            skipinitialspace=True,
        )
    if len(table) != len(scan.lines):
        raise ValueError(
            f"{shown(path)}: {len(scan.lines)} rows, of which pandas reads {len(table)}"
        )
    columns = _columns(pandas, table, scan.target, text)
    return columns if scan.delimiter == "," else _with_decimal_points(path, columns, text)


def _read_parquet(path: Path, target: str | None, text: Collection[str]) -> Frame:
    """Return the columns of a Parquet file."""
    pandas = require_pandas(path, "it is a Parquet file")
    try:
        table = pandas.read_parquet(path).reset_index(drop=True)
    except ImportError:
        raise ValueError(
            f"{shown(path)}: it is a Parquet file, which needs pyarrow: pip install pyarrow"
        ) from None
    except (ValueError, OSError) as error:
        raise ValueError(f"{shown(path)} cannot be read as Parquet ({error})") from error
    table.columns = [str(name).strip() for name in table.columns]
    names = tuple(table.columns)
    check_names(path, names)
    if not len(table):
        raise ValueError(f"{shown(path)} has no rows; give at least one")
    chosen = names[-1] if target is None else target
    columns = _columns(pandas, table, chosen, {chosen, *text})
    return Frame(path, chosen, columns, range(1, len(table) + 1))


def _columns(pandas: Any, table: Any, target: str, text: Collection[str]) -> dict[str, Array]:
    """Return the columns of a data frame as numbers or text."""
    types = pandas.api.types
    columns: dict[str, Array] = {}
    for name in table.columns:
        series = table[name]
        if name not in text and types.is_numeric_dtype(series.dtype):  # booleans too
            columns[name] = series.to_numpy(np.float64, na_value=np.nan)
        else:
            given = series.astype(object).where(series.notna(), None)  # NA equals nothing
            cells = _as_text(given.tolist(), name == target)
            columns[name] = cells if name in text else _as_numbers(cells)
    return columns


def _as_numbers(cells: Array) -> Array:
    """Return text as numbers, if every cell that is not empty is a number, or True or False."""
    values = set(cells) - {None}
    if values and values <= set(_BOOLEANS):
        return np.array([math.nan if cell is None else _BOOLEANS[cell] for cell in cells])
    if all(map(is_number, values)):
        return np.array([math.nan if cell is None else float(cell) for cell in cells])
    return cells


def _with_decimal_points(
    path: Path, columns: Mapping[str, Array], text: Collection[str]
) -> dict[str, Array]:
    """Return the columns with decimal commas read as decimal points, where the file has such.

    Raises:
        ValueError: some columns have decimal commas and others decimal points.
    """
    found = dict(columns)
    for name, cells in columns.items():
        values = set(cells) - {None} if cells.dtype == object else set()
        if any("," in x for x in values) and all(_DECIMAL_COMMA.fullmatch(x) for x in values):
            points = np.array([x and x.replace(".", "").replace(",", ".") for x in cells], object)
            found[name] = points if name in text else _as_numbers(points)
    with_comma = [name for name in columns if found[name] is not columns[name]]
    for name, numbers in columns.items():
        fractions = numbers.dtype != object and np.any(np.nan_to_num(numbers) % 1)
        if with_comma and fractions:
            raise ValueError(
                f"{shown(path)}: column {with_comma[0]!r} has decimal commas and column {name!r} "
                "decimal points; write all numbers in one way"
            )
    return found
