"""Tables as columns of numbers and of text.

A table of plain numbers is read without pandas; empty cells, text, dates and Parquet need it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from trainlib.data.archives import Array, require_file
from trainlib.data.cells import (
    MISSING,
    POINT,
    as_numbers,
    as_text,
    decimal_mark,
    read_number,
    with_decimal_points,
)
from trainlib.data.csv_text import Scan, check_names, open_text, reading, scan_text
from trainlib.data.limits import check_size
from trainlib.training.paths import printable, shown

PARQUET = ".parquet"


class Frame(NamedTuple):
    """Columns of a table with N rows.

    Attributes:
        path: the file.
        target: name of the column to predict, which the table may lack.
        columns: columns by name, "" for a first one without a name: float64 [N] with NaN for empty
            cells, or text [N], an object array of `str` with None for empty cells. The target is
            text.
        lines: line of each row in the file, from 1; for a Parquet file, the number of the row.
        decimal: decimal mark of the numbers, "." or ","; None if all are integers.
    """

    path: Path
    target: str
    columns: Mapping[str, Array]
    lines: Sequence[int]
    decimal: str | None = None

    @property
    def name(self) -> str:
        """Name of the file, for messages."""
        return shown(self.path)

    @property
    def size(self) -> int:
        """Number of rows."""
        return len(self.lines)

    def cell(self, name: str, row: int) -> str:
        """Return the position of a cell, for messages."""
        place = "row" if self.path.name.lower().endswith(PARQUET) else "line"
        return f"{self.name}, {place} {self.lines[row]}, column {name!r}"

    def column(self, name: str) -> Array:
        """Return a column by its name; raise `ValueError` if it does not exist."""
        if name not in self.columns:
            raise ValueError(
                f"{self.name} has no column {name!r}; its columns are "
                f"{', '.join(map(printable, self.columns))}"
            )
        return self.columns[name]

    def numbers(self, name: str) -> Array:
        """Return a column of numbers without empty cells.

        Raises:
            ValueError: the column does not exist, or a cell is not a finite number.
        """
        values = self.column(name)
        if values.dtype != object and np.isfinite(values).all():
            return values
        for row, x in enumerate(values):
            if x is None or x != x:
                raise ValueError(f"{self.cell(name, row)} is empty; give a number in every row")
            if read_number(str(x), self.decimal) is None:
                raise ValueError(f"{self.cell(name, row)}: {printable(str(x))!r} is not a number")
        return values.astype(np.float64)

    def rows(self, indices: Array) -> Frame:
        """Return a frame with some of the rows."""
        columns = {name: values[indices] for name, values in self.columns.items()}
        return self._replace(columns=columns, lines=[self.lines[i] for i in indices])


def read_frame(
    path: Path,
    target: str | None = None,
    text: Collection[str] = (),
    decimal: str | None = None,
) -> Frame:
    """Read the columns of a table.

    Args:
        path: a file in UTF-8 whose cells are separated by commas, semicolons, tabs or bars, with a
            header; compressed with gzip if its name ends in .gz. Or a Parquet file.
        target: column to predict. Default: None, the last column.
        text: names of columns that are read as text, besides the target. Default: ().
        decimal: decimal mark of other tables of the same kind, for a table whose numbers are
            ambiguous. Default: None, not known.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: the file is damaged, has no valid header, no rows or rows of different lengths;
            its numbers are ambiguous; or pandas is needed but not installed.
    """
    require_file(path)
    if path.name.lower().endswith(PARQUET):
        frame = _read_parquet(path, target, text)
        return _with_numbers(frame, text, decimal)
    with reading(path):
        scan = scan_text(path, target, text, decimal)
        if scan.columns is not None:
            mark = POINT if any(map(_has_fraction, scan.columns.values())) else decimal
            return Frame(path, scan.target, scan.columns, scan.lines, mark)
        frame = _read_with_pandas(path, scan)
    return _with_numbers(frame, text, decimal)


def _has_fraction(values: Array) -> bool:
    return values.dtype != object and bool((values % 1).any())


def require_pandas(path: Path, reason: str) -> Any:
    """Return the module pandas.

    Raises:
        ValueError: pandas is not installed.
    """
    try:
        import pandas
    except ImportError:
        raise ValueError(
            f"{shown(path)}: {reason}, which needs pandas: pip install pandas"
        ) from None
    return pandas


def parse_dates(cells: Array, format: str) -> Array:
    """Return dates as days since 1970; NaN for empty cells and dates of another format.

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


def _read_with_pandas(path: Path, scan: Scan) -> Frame:
    """Return the columns of a text file as text."""
    pandas = require_pandas(path, "it has text, empty cells or decimal commas")
    with open_text(path) as stream:
        table = pandas.read_csv(
            stream,
            sep=scan.delimiter,
            names=list(scan.names),
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
    return Frame(path, scan.target, _columns(pandas, table, scan.target, ()), scan.lines)


def _read_parquet(path: Path, target: str | None, text: Collection[str]) -> Frame:
    """Return the columns of a Parquet file; columns other than numbers become text."""
    pandas = require_pandas(path, "it is a Parquet file")
    with _errors_of_parquet(path):
        from pyarrow import parquet

        found = parquet.read_metadata(path)
    check_size(path, 8 * found.num_rows * found.num_columns)
    with _errors_of_parquet(path):
        table = pandas.read_parquet(path, dtype_backend="numpy_nullable").reset_index(drop=True)
    table.columns = [str(name).strip() for name in table.columns]
    names = tuple(table.columns)
    check_names(path, names)
    if not len(table):
        raise ValueError(f"{shown(path)} has no rows; give at least one")
    chosen = names[-1] if target is None else target
    columns = _columns(pandas, table, chosen, text)
    return Frame(path, chosen, columns, range(1, len(table) + 1))


@contextlib.contextmanager
def _errors_of_parquet(path: Path) -> Iterator[None]:
    """Convert the exceptions in reading a Parquet file to `ValueError`, with the path."""
    try:
        yield
    except ImportError:
        raise ValueError(
            f"{shown(path)}: it is a Parquet file, which needs pyarrow: pip install pyarrow"
        ) from None
    except (ValueError, OSError) as error:
        raise ValueError(f"{shown(path)} cannot be read as Parquet ({error})") from error


def _columns(pandas: Any, table: Any, target: str, text: Collection[str]) -> dict[str, Array]:
    """Return the columns of a data frame: numbers as numbers, others as text."""
    types = pandas.api.types
    columns: dict[str, Array] = {}
    for name in table.columns:
        series = table[name]
        if name not in (target, *text) and types.is_numeric_dtype(series.dtype):  # booleans too
            columns[name] = series.to_numpy(np.float64, na_value=np.nan)
        else:
            given = series.astype(object).where(series.notna(), None)  # NA equals nothing
            columns[name] = as_text(given.tolist(), ("",) if name == target else MISSING)
    return columns


def rows_with_numbers(frame: Frame, rows: Array, text: Collection[str]) -> Frame:
    """Return some rows of a frame; columns of text that hold only numbers in them are numbers.

    Args:
        frame: the frame, from `read_frame`.
        rows: indices of the rows.
        text: names of columns that stay text, besides the target.
    """
    kept = frame.rows(rows)
    cells = {n: x for n, x in kept.columns.items() if x.dtype == object}
    cells = {n: x for n, x in cells.items() if n not in (frame.target, *text)}
    mark = decimal_mark(cells, frame.decimal, kept.cell)
    found = {n: as_numbers(x, mark) for n, x in cells.items()}
    return kept._replace(columns={**kept.columns, **found}, decimal=mark)


def _with_numbers(frame: Frame, text: Collection[str], decimal: str | None) -> Frame:
    """Return a frame in which columns of text that hold only numbers are converted to numbers.

    Args:
        frame: the frame.
        text: names of columns that stay text. The target stays text, with decimal points.
        decimal: decimal mark for ambiguous numbers; None if it is not known.
    """
    cells = {n: x for n, x in frame.columns.items() if x.dtype == object and n not in text}
    mark = decimal_mark(cells, decimal, frame.cell)
    found = {n: x if n == frame.target else as_numbers(x, mark) for n, x in cells.items()}
    if frame.target in cells:
        found[frame.target] = with_decimal_points(cells[frame.target], mark)
    return frame._replace(columns={**frame.columns, **found}, decimal=mark)
