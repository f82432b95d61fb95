"""Columns of a table in a model's hyperparameter, by position or by name."""

from __future__ import annotations

from collections.abc import Mapping


def parse_columns(
    argument: str, text: str, size: int, names: Mapping[str, tuple[int, ...]] | None = None
) -> tuple[int, ...]:
    """Parse a list of columns such as `0,2,5-7`.

    Args:
        argument: name of the argument, for messages.
        text: columns and ranges of columns, counted from 0, or names of columns.
        size: number of columns.
        names: positions of columns by name. Default: None, they have no names.

    Returns:
        Positions of the columns, from 0, in the order of the text.

    Raises:
        ValueError: the text has another form, or a column does not exist.

    Example:
        >>> tl.models.parse_columns("columns", "0-2,age", 8, {"age": (5,)})
        (0, 1, 2, 5)
    """
    found: list[int] = []
    for part in (part.strip() for part in text.split(",")):
        if names and part in names:
            found += names[part]
            continue
        first, dash, last = part.partition("-")
        if not first.isdigit() or (dash and not last.isdigit()):
            known = f", or with the columns {', '.join(names)}" if names else ""
            raise ValueError(
                f"{argument} must be written as in 0-4 or 0,2,5-7{known}, got {text!r}"
            )
        found += range(int(first), int(last if dash else first) + 1)
    if not found or max(found) >= size:
        raise ValueError(
            f"{argument} must be of the columns 0 to {size - 1} of the data, got {text!r}"
        )
    if len(set(found)) < len(found):
        raise ValueError(f"{argument} must name a column once, got {text!r}")
    return tuple(found)
