"""Cells of a table: tests for empty cells and numbers, and the decimal mark of the numbers."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from trainlib.data.archives import Array

MISSING = ("", "NA", "N/A", "n/a", "NaN", "nan", "NULL", "null", "None", "<NA>", "#N/A", "?")
"""Texts of cells that count as empty. In the target column "None", for example, is a class."""
POINT, COMMA = ".", ","
"""The decimal marks. If one of them is the decimal mark, the other one separates thousands."""

_BOOLEANS = {
    **dict.fromkeys(("True", "TRUE", "true"), 1.0),
    **dict.fromkeys(("False", "FALSE", "false"), 0.0),
}
_GROUPED = {
    POINT: re.compile(r"[+-]?[1-9]\d{0,2}(,\d{3})+(\.\d+)?"),
    COMMA: re.compile(r"[+-]?[1-9]\d{0,2}(\.\d{3})+(,\d+)?"),
}


def to_number(cell: str) -> float | None:
    """Return the finite number, with a decimal point, in a cell; None if it is not a number.

    "1_000", which Python accepts, is not a number: it is likely to be a mistake.
    """
    if "_" in cell:
        return None
    try:
        number = float(cell)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def is_number(cell: str) -> bool:
    """Return whether a cell is a finite number with a decimal point."""
    return to_number(cell) is not None


def read_number(cell: str, mark: str | None) -> float | None:
    """Return the number in a cell, given the decimal mark; None if it is not a number.

    Args:
        cell: text of the cell; it may have separators of thousands.
        mark: `POINT` or `COMMA`; None for a point.
    """
    plain = _plain(cell, mark or POINT)
    return None if plain is None else to_number(plain)


def _plain(cell: str, mark: str) -> str | None:
    """Return the text of a number in Python's syntax; None if it is not a number with that mark."""
    separator = COMMA if mark == POINT else POINT
    if separator in cell:
        if not _GROUPED[mark].fullmatch(cell):
            return None
        cell = cell.replace(separator, "")
    cell = cell.replace(mark, POINT)
    return cell if is_number(cell) else None


def as_text(cells: Sequence[Any], empty: Collection[str] = MISSING) -> Array:
    """Return the text of cells without surrounding spaces; None for empty cells."""
    found = np.empty(len(cells), object)
    for i, cell in enumerate(cells):
        text = "" if cell is None or cell != cell else str(cell).strip()
        found[i] = None if text in empty else text
    return found


def as_numbers(cells: Array, mark: str | None) -> Array:
    """Return cells as numbers if all that are not empty are numbers, True or False; else None."""
    values = [cell for cell in dict.fromkeys(cells) if cell is not None]
    if values and set(values) <= set(_BOOLEANS):
        numbers: dict[str, float | None] = {**_BOOLEANS}
    else:
        numbers = {cell: read_number(cell, mark) for cell in values}
    if None in numbers.values():
        return cells
    return np.array([math.nan if cell is None else numbers[cell] for cell in cells], np.float64)


def with_decimal_points(cells: Array, mark: str | None) -> Array:
    """Return numbers with decimal points, as text, if all cells are numbers or in `MISSING`."""
    numeric = all(x in MISSING or read_number(x, mark) is not None for x in _given(cells))
    if mark is None or not numeric:
        return cells
    plain = [x if x is None or x in MISSING else _plain(x, mark) for x in cells]
    return np.array(plain, object)


def decimal_mark(
    columns: Mapping[str, Array], known: str | None, where: Callable[[str, int], str]
) -> str | None:
    """Infer the decimal mark of a table from its numbers.

    "1,5", "1234,567" and "1.234,5" have a comma, "1.5", "0.125" and "1,234.5" a point; "1.000" and
    "1,000" are ambiguous. Columns with other text than numbers are ignored.

    Args:
        columns: cells by column, as text; None for empty cells.
        known: decimal mark of other tables of the same kind; None if it is not known.
        where: returns the position of a cell for messages, by column and row.

    Returns:
        The mark of the numbers that are not ambiguous; without such numbers `known`, or a point if
        there are numbers such as "1.000"; None if all numbers are integers.

    Raises:
        ValueError: numbers have different marks; or the mark is not known and "1,000" is ambiguous.
    """
    shown: dict[str, tuple[str, str]] = {}
    unclear: dict[str, tuple[str, str]] = {}
    for name, cells in columns.items():
        readings = {x: (_plain(x, POINT), _plain(x, COMMA)) for x in _given(cells, MISSING)}
        if (None, None) in readings.values():
            continue
        for cell, (point, comma) in readings.items():
            if point is None or comma is None:
                shown.setdefault(COMMA if point is None else POINT, (name, cell))
            elif point != comma:
                unclear.setdefault(COMMA if COMMA in cell else POINT, (name, cell))

    def place(name: str, cell: str) -> str:
        return f"{where(name, list(columns[name]).index(cell))}: {cell!r}"

    if len(shown) == 2:
        raise ValueError(
            f"{place(*shown[POINT])} has a decimal point, but {place(*shown[COMMA])} a decimal "
            "comma; write all numbers in one way"
        )
    if shown or known is not None:
        return next(iter(shown), known)
    if COMMA in unclear:
        cell = unclear[COMMA][1]
        raise ValueError(
            f"{place(*unclear[COMMA])} may be {_plain(cell, COMMA)} or {_plain(cell, POINT)}, and "
            "no number of the table shows which; write numbers without separators of thousands"
        )
    return POINT if unclear else None


def _given(cells: Iterable[str | None], empty: Collection[str] = ()) -> list[str]:
    """Return the distinct cells that are not empty, in the order of the rows."""
    return [cell for cell in dict.fromkeys(cells) if cell is not None and cell not in empty]
