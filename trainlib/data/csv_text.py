"""Text files of tables: their delimiter, their header, and a first pass over their rows."""

from __future__ import annotations

import codecs
import contextlib
import csv
import io
from array import array
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import numpy as np

from trainlib.data.archives import DAMAGE, Array, require_file
from trainlib.data.cells import COMMA, MISSING, POINT, as_text, is_number, read_number, to_number
from trainlib.data.limits import open_packed
from trainlib.training.paths import shown

DELIMITERS = (",", ";", "\t", "|")

_SAMPLE_CHARACTERS = 1 << 16


class Scan(NamedTuple):
    """Result of the first pass over a text file.

    Attributes:
        delimiter: delimiter of the cells.
        names: names in the header; "" for a first column without a name.
        target: name of the column to predict.
        lines: line number of each row.
        columns: the columns, if all that need not be text are plain numbers; else None.
    """

    delimiter: str
    names: tuple[str, ...]
    target: str
    lines: Sequence[int]
    columns: dict[str, Array] | None


def scan_text(
    path: Path, target: str | None, text: Collection[str], decimal: str | None = None
) -> Scan:
    """Check the header and every row, and read numbers until a cell needs a closer look.

    Args:
        path: the file.
        target: name of the column to predict, which is read as text; None for the last column.
        text: names of further columns that are read as text.
        decimal: decimal mark of other tables of the same kind. Default: None, not known.

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
            if cells is not None and not _append(cells, record, chosen, decimal):
                cells = None
    if not lines:
        raise no_rows(path)
    columns = None
    if cells is not None:
        columns = {name: _as_array(x, name == chosen) for name, x in cells.items()}
    return Scan(delimiter, names, chosen, lines, columns)


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """Convert the exceptions that a damaged text file raises to `ValueError`."""
    try:
        yield
    except (*DAMAGE, UnicodeDecodeError, csv.Error) as error:
        raise ValueError(
            f"{shown(path)} cannot be read as a table ({error}); give comma-separated text in UTF-8"
        ) from error


def read_names(path: Path) -> tuple[str, ...]:
    """Return the names of the columns of a text file.

    Raises:
        FileNotFoundError, ValueError: the file does not exist or is damaged.
    """
    require_file(path)
    with reading(path), open_text(path) as stream:
        delimiter = _delimiter(path)
        records = filter(None, csv.reader(stream, delimiter=delimiter, skipinitialspace=True))
        return tuple(name.strip() for name in next(records, []))


def _delimiter(path: Path) -> str:
    """Return the delimiter that divides the first lines of a file into most cells, equally many."""
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


def _append(
    cells: Mapping[str, Any], record: Sequence[str], target: str, decimal: str | None
) -> bool:
    """Append a record to the columns; return False at a cell that is not a plain number."""
    for (name, values), cell in zip(cells.items(), record, strict=True):
        if isinstance(values, list):
            if name == target and _has_marks(cell, decimal):
                return False
            values.append(cell)
            continue
        number = None if decimal == COMMA and POINT in cell else to_number(cell)
        if number is None:
            return False
        values.append(number)
    return True


def _has_marks(cell: str, decimal: str | None) -> bool:
    """Return whether a cell is a number with a decimal comma or with separators of thousands."""
    if COMMA in cell:
        return any(read_number(cell, mark) is not None for mark in (POINT, COMMA))
    return decimal == COMMA and POINT in cell and read_number(cell, COMMA) is not None


def _as_array(values: Any, is_target: bool) -> Array:
    if isinstance(values, list):
        return as_text(values, ("",) if is_target else MISSING)
    return np.array(values)


def open_text(path: Path) -> TextIO:
    """Open a text file, which is UTF-8, or UTF-16 with a byte order mark.

    Args:
        path: the file; compressed with gzip if its name ends in .gz.
    """
    stream = open_packed(path) if path.name.lower().endswith(".gz") else path.open("rb")
    wide = stream.peek(2)[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
    return io.TextIOWrapper(stream, encoding="utf-16" if wide else "utf-8-sig", newline="")


def no_rows(path: Path) -> ValueError:
    """Return the error for a table without rows."""
    return ValueError(f"{shown(path)} has no rows; give a header line and at least one row")


def check_cells(path: Path, line: int, record: Sequence[str], names: Sequence[str]) -> None:
    """Raise `ValueError` unless a row has a cell for each column."""
    if len(record) != len(names):
        raise ValueError(
            f"{shown(path)}, line {line}: {len(record)} cells, but the header has "
            f"{len(names)}; give one cell a column"
        )


def check_names(path: Path, names: Sequence[str]) -> None:
    """Raise `ValueError` unless a header has distinct names, and most of them are no numbers."""
    if not names:
        raise no_rows(path)
    measured = [name for name in names if is_number(name) and not name.isdigit()]  # no years
    if all(is_number(name) for name in names) or 2 * len(measured) > len(names):
        raise ValueError(f"{shown(path)} has no header; put a line with the column names first")
    for place, name in enumerate(names):
        if not name:
            raise ValueError(
                f"{shown(path)}: column {place + 1} has no name; name it in the header"
            )
        if name in names[:place]:
            raise ValueError(
                f"{shown(path)}: two columns are named {name!r}; give them different names"
            )
