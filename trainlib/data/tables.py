"""Readers of NumPy archives and comma-separated tables."""

from __future__ import annotations

import codecs
import contextlib
import csv
import gzip
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import numpy as np
import numpy.typing as npt

from trainlib.training.paths import shown

Array = npt.NDArray[Any]
DAMAGE = (EOFError, OSError, zlib.error)
"""Errors that a damaged file raises while it is read."""


class Table(NamedTuple):
    """Text of a table with N rows.

    Attributes:
        path: its file.
        names: column names, distinct and not empty.
        rows: the cells of each row, as many as names.
        lines: line number of each row in the file, from 1.
    """

    path: Path
    names: tuple[str, ...]
    rows: list[list[str]]
    lines: list[int]


def read_npz(path: Path) -> dict[str, Array]:
    """Read every array of a NumPy archive; nothing is unpickled.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged, is not an archive, or holds Python objects.
    """
    with _open_npz(path) as archive:
        return {name: archive[name] for name in archive.files}


def names_in_npz(path: Path) -> list[str]:
    """Return the names of the arrays of a NumPy archive, which are not read.

    Raises:
        FileNotFoundError, ValueError: as of `read_npz`.
    """
    with _open_npz(path) as archive:
        return list(archive.files)


@contextlib.contextmanager
def _open_npz(path: Path) -> Iterator[Any]:
    """Open a NumPy archive; errors within the context are those of `read_npz`."""
    require_file(path)
    try:
        if not zipfile.is_zipfile(path):
            raise ValueError("it is not an archive")
        with np.load(path, allow_pickle=False) as archive:
            yield archive
    except (*DAMAGE, zipfile.BadZipFile, ValueError, RuntimeError) as error:
        if "Object arrays" in str(error):
            reason = "it holds an object array, which is never unpickled"
        else:
            reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(
            f"{shown(path)} cannot be read as .npz ({reason}); write it with numpy.savez from "
            "arrays of numbers"
        ) from error


def read_table(path: Path) -> Table:
    """Read a comma-separated table with a header; blank lines are skipped.

    Args:
        path: the file, in UTF-8; gzip-compressed if its name ends in .gz.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged, is not text, has no valid header, has a row of another
            length than the header, or has no rows.
    """
    require_file(path)
    try:
        lines, records = _read_records(path)
    except (*DAMAGE, UnicodeDecodeError, csv.Error) as error:
        raise ValueError(
            f"{shown(path)} cannot be read as .csv ({error}); give comma-separated text in UTF-8"
        ) from error
    if len(records) < 2:
        raise no_rows(path)
    names = tuple(name.strip() for name in records[0])
    check_names(path, names)
    for line, record in zip(lines[1:], records[1:], strict=True):
        check_cells(path, line, record, names)
    return Table(path, names, records[1:], lines[1:])


def read_numbers(table: Table, columns: Sequence[str]) -> npt.NDArray[np.float64]:
    """Return the named columns as numbers.

    Returns:
        Finite float64 [N, len(columns)], within the range of float32.

    Raises:
        ValueError: a column is missing, or a cell is not a number, NaN or too large.
    """
    places = [_place(table, name) for name in columns]
    try:
        values = [[parse_number(row[place]) for place in places] for row in table.rows]
    except ValueError:
        raise ValueError(_describe_first_text(table, columns)) from None
    numbers = np.array(values, np.float64).reshape(len(table.rows), len(columns))
    bad = ~(np.abs(numbers) <= np.finfo(np.float32).max)
    if bad.any():
        row, column = np.argwhere(bad)[0]
        raise ValueError(
            f"{shown(table.path)} has {int(bad.sum())} values that are NaN or infinite as float32, "
            f"the first in column {columns[column]!r}, line {table.lines[row]}; remove or replace "
            "them"
        )
    return numbers


def require_file(path: Path) -> None:
    """Raise `FileNotFoundError` unless the file exists."""
    if not path.exists():
        raise FileNotFoundError(f"{shown(path)} does not exist; check the path")


def open_text(path: Path) -> TextIO:
    """Open a text file, which is UTF-8, or UTF-16 with a byte order mark.

    Args:
        path: the file; compressed with gzip if its name ends in .gz.
    """
    opener: Any = gzip.open if path.name.lower().endswith(".gz") else open
    with opener(path, "rb") as stream:
        wide = stream.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
    opened: TextIO = opener(path, "rt", encoding="utf-16" if wide else "utf-8-sig", newline="")
    return opened


def _read_records(path: Path) -> tuple[list[int], list[list[str]]]:
    """Return the line numbers and the cells of all lines that are not blank."""
    lines, records = [], []
    with open_text(path) as stream:
        reader = csv.reader(stream, strict=True)
        for record in reader:
            if record:
                lines.append(reader.line_num)
                records.append(record)
    return lines, records


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
    """Raise `ValueError` unless a header has distinct names."""
    if not names:
        raise no_rows(path)
    if all(_is_number(name) for name in names):
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


def _place(table: Table, name: str) -> int:
    """Return the index of a column."""
    if name not in table.names:
        raise ValueError(
            f"{shown(table.path)} has no column {name!r}; its columns are {', '.join(table.names)}"
        )
    return table.names.index(name)


def parse_number(text: str) -> float:
    """Return a cell as a number; "1_000", a number to Python, is refused as a likely mistake."""
    if "_" in text:
        raise ValueError(text)
    return float(text)


def _is_number(text: str) -> bool:
    """Return whether a cell is a number."""
    try:
        parse_number(text)
    except ValueError:
        return False
    return True


def _describe_first_text(table: Table, columns: Sequence[str]) -> str:
    """Return the message about the first cell that is not a number."""
    for line, row in zip(table.lines, table.rows, strict=True):
        for name in columns:
            text = row[_place(table, name)]
            if not _is_number(text):
                return (
                    f"{shown(table.path)}, line {line}, column {name!r}: {text!r} is not a number; "
                    "write a number or remove the row or the column"
                )
    return f"{shown(table.path)} has a cell that is not a number"
