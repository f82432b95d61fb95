"""Cells of a table: which are empty, which are numbers, and which decimal mark the numbers have."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from trainlib.data.archives import Array

MISSING = ("", "NA", "N/A", "n/a", "NaN", "nan", "NULL", "null", "None", "<NA>", "#N/A", "?")
"""Cells that count as empty. In the target column a text such as "None" is a class, not empty."""
POINT, COMMA = ".", ","
"""The decimal marks; where one of them is the decimal mark, the other separates thousands."""

_BOOLEANS = {
    **dict.fromkeys(("True", "TRUE", "true"), 1.0),
    **dict.fromkeys(("False", "FALSE", "false"), 0.0),
}
_GROUPED = {
    POINT: re.compile(r"[+-]?[1-9]\d{0,2}(,\d{3})+(\.\d+)?"),
    COMMA: re.compile(r"[+-]?[1-9]\d{0,2}(\.\d{3})+(,\d+)?"),
}


def to_number(cell: str) -> float | None:
    """Return a finite number with a decimal point; None if the cell is none.

    "1_000", which is a number to Python, is none: it is a likely mistake.
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
    """Return a number with a decimal mark, and the other one between thousands; None if it is none.

    Args:
        cell: the text of a cell.
        mark: `POINT` or `COMMA`; None: a point.
    """
    plain = _plain(cell, mark or POINT)
    return None if plain is None else to_number(plain)


def _plain(cell: str, mark: str) -> str | None:
    """Return a number as Python writes it; None if it is none with that decimal mark."""
    separator = COMMA if mark == POINT else POINT
    if separator in cell:
        if not _GROUPED[mark].fullmatch(cell):
            return None
        cell = cell.replace(separator, "")
    cell = cell.replace(mark, POINT)
    return cell if is_number(cell) else None


def as_text(cells: Sequence[Any], empty: Collection[str] = MISSING) -> Array:
    """Return cells as text without spaces around it, None for those that are empty."""
    found = np.empty(len(cells), object)
    for i, cell in enumerate(cells):
        text = "" if cell is None or cell != cell else str(cell).strip()
        found[i] = None if text in empty else text
    return found


def as_numbers(cells: Array, mark: str | None) -> Array:
    """Return text as numbers, if every cell that is not empty is a number, or True or False."""
    values = [cell for cell in dict.fromkeys(cells) if cell is not None]
    if values and set(values) <= set(_BOOLEANS):
        numbers: dict[str, float | None] = {**_BOOLEANS}
    else:
        numbers = {cell: read_number(cell, mark) for cell in values}
    if None in numbers.values():
        return cells
    return np.array([math.nan if cell is None else numbers[cell] for cell in cells], np.float64)


def with_decimal_points(cells: Array, mark: str | None) -> Array:
    """Return text whose numbers have a decimal point, if every cell is a number or in `MISSING`."""
    numeric = all(x in MISSING or read_number(x, mark) is not None for x in _given(cells))
    if mark is None or not numeric:
        return cells
    plain = [x if x is None or x in MISSING else _plain(x, mark) for x in cells]
    return np.array(plain, object)


def decimal_mark(
    columns: Mapping[str, Array], known: str | None, where: Callable[[str, int], str]
) -> str | None:
    """Return the decimal mark of a table: the one that its numbers show.

    "1,5", "1234,567" and "1.234,5" show a comma, "1.5", "0.125" and "1,234.5" a point; "1.000" and
    "1,000" show nothing. Columns that are not numbers throughout are not looked at.

    Args:
        columns: cells by column, as text; None where they are empty.
        known: mark that other tables of the same kind have; None if that is not known.
        where: returns where a cell is, by column and row.

    Returns:
        The mark; `known` if no number shows one; a point if some have one and none a comma; None if
        all numbers are integers.

    Raises:
        ValueError: numbers show both, or "1,000" is all there is.
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
    """Return the different cells that are not empty, in the order of the rows."""
    return [cell for cell in dict.fromkeys(cells) if cell is not None and cell not in empty]
