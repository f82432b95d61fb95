"""Tables of an HTML page, and how their numbers are written."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from html import escape
from urllib.parse import quote

from trainlib.report.page import note

UNKNOWN = "?"
"""Text for a setting of a run whose settings are unknown."""
UNDEFINED = "-"
"""Text for NaN: a number that is not defined, or that was not finite."""


class WrappedText(str):
    """Text of a table cell that may be wrapped."""


class NumberText(str):
    """Text of a table cell that is aligned as numbers are."""


class Link(str):
    """Text of a table cell that leads to a file.

    Args:
        text: the text.
        path: path of the file, relative to the page.
    """

    path: str

    def __new__(cls, text: str, path: str) -> Link:
        link = super().__new__(cls, text)
        link.path = path
        return link


def table(
    headers: Sequence[str],
    rows: Sequence[Sequence[object]],
    strong: Collection[tuple[int, int]] = (),
) -> str:
    """Return a table; all numbers of a column have the same decimals, four digits for the largest.

    Args:
        headers: header of each column.
        rows: cells of each row.
        strong: cells, as (row, column), that stand out.
    """
    columns = [[row[k] for row in rows] for k in range(len(headers))]
    numeric = [any(map(_is_number, column)) for column in columns]
    written = [_number_text(column) for column in columns]
    head = "".join(
        f'<th scope="col"{_class_of(is_number)}>{escape(header)}</th>'
        for header, is_number in zip(headers, numeric, strict=True)
    )
    lines = [
        "<tr>"
        + "".join(
            _cell(x, written[k], "number" if numeric[k] else "", (i, k) in strong)
            for k, x in enumerate(row)
        )
        + "</tr>"
        for i, row in enumerate(rows)
    ]
    body = "\n".join(lines)
    return (
        f'<div class="scroll"><table>\n<thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{body}\n</tbody>\n</table></div>"
    )


def table_of_differences(header: str, settings: Mapping[str, Mapping[str, str]]) -> str:
    """Return a table with a row for each setting that is not the same in all columns.

    Args:
        header: header of the names of the settings.
        settings: texts of the settings by name, for each column; {} where they are unknown.
    """
    rows = []
    for name in dict.fromkeys(name for values in settings.values() for name in values):
        texts = [x.get(name, "") if x else UNKNOWN for x in settings.values()]
        if len(set(texts)) > 1:
            rows.append([name, *map(WrappedText, texts)])
    return table([header, *settings], rows) if rows else note("None.")


def with_spread(value: float, spread: float) -> NumberText:
    """Return a number and its spread, both rounded to the second significant digit of the spread.

    Args:
        value: the number.
        spread: such as the standard deviation. NaN (unknown): only the number is written, with
            four significant digits.
    """
    if not spread > 0:
        return NumberText(f"{value:.4g}" + (" ± 0" if spread == 0 else ""))
    decimals = max(0, 1 - math.floor(math.log10(spread)))
    if decimals > 6 or abs(value) >= 1e7:
        return NumberText(f"{value:.4g} ± {spread:.2g}")
    return NumberText(f"{value:.{decimals}f} ± {spread:.{decimals}f}")


def number_text(value: float, written: Callable[[float], str] = "{:.4g}".format) -> str:
    """Return a number as text, by default with four significant digits."""
    return UNDEFINED if math.isnan(value) else written(value)


def _cell(content: object, written: Callable[[float], str], kind: str, strong: bool) -> str:
    text = escape(number_text(content, written) if isinstance(content, float) else str(content))
    if isinstance(content, Link):
        text = f'<a href="{escape(quote(content.path))}">{text}</a>'
    kind = "long" if isinstance(content, WrappedText) else kind
    shown = f"<strong>{text}</strong>" if strong else text
    return f'<td class="{kind}">{shown}</td>' if kind else f"<td>{shown}</td>"


def _is_number(content: object) -> bool:
    return isinstance(content, (int, float, NumberText))


def _class_of(numeric: bool) -> str:
    return ' class="number"' if numeric else ""


def _number_text(column: Iterable[object]) -> Callable[[float], str]:
    """Return a function that writes the floats of a column, all with the same number of decimals.

    In columns of very large, very small, or very different numbers, each number has four
    significant digits.
    """
    sizes = [abs(x) for x in column if isinstance(x, float) and math.isfinite(x) and x]
    if not sizes or max(sizes) >= 1e7 or max(sizes) < 1e-4 or min(sizes) < max(sizes) / 20:
        return lambda x: f"{x:.4g}"
    if all(x == round(x) for x in sizes) and max(sizes) > 1:
        return lambda x: f"{x:.0f}"
    largest = max(sizes) if max(sizes) != 1 else 0.9  # a fraction such as an accuracy
    decimals = max(0, 3 - math.floor(math.log10(largest)))
    return lambda x: f"{x:.{decimals}f}"
