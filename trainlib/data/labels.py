"""The target column of a table: whether it has classes or numbers, and its labels."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np

from trainlib.core.checks import check_choice, first_of
from trainlib.data.archives import Array
from trainlib.data.cells import MISSING, is_number
from trainlib.data.frames import Frame, rows_with_numbers
from trainlib.training.paths import printable

AUTO, CLASSIFICATION, REGRESSION = "auto", "classification", "regression"
TASKS = (AUTO, CLASSIFICATION, REGRESSION)
MAX_CLASSES = 10_000
FEW = 20
"""Number of different integers up to which "auto" treats them as classes."""


class Labels(NamedTuple):
    """Targets of N rows.

    Attributes:
        y: int32 labels [N], or float64 numbers [N].
        classes: the classes as text, in the order of the labels; () for numbers.
        guess: the task that "auto" chose for integers, and the reason; "" without a choice.
    """

    y: Array
    classes: tuple[str, ...]
    guess: str = ""


def with_targets(frame: Frame, text: Collection[str] = ()) -> tuple[Frame, str]:
    """Return the rows of a frame that have a target, and a note on the other rows, or "".

    A missing number may be written as any of `MISSING`, a missing class only as an empty cell. A
    column whose only text is in the rows left out, as in one of totals, holds numbers.

    Args:
        frame: the frame, from `read_frame`.
        text: names of columns that stay text. Default: ().

    Raises:
        ValueError: the target column does not exist, or is empty in all rows.
    """
    if frame.target not in frame.columns:
        raise ValueError(
            f"target is {frame.target!r}, but {frame.name} has no such column; give one of "
            f"{', '.join(map(printable, frame.columns))}"
        )
    cells = frame.columns[frame.target]
    given = [cell for cell in cells if cell is not None and cell not in MISSING]
    numeric = all(map(is_number, given))
    empty = (None, *MISSING) if numeric else (None,)
    kept = np.flatnonzero([cell not in empty for cell in cells])
    if len(kept) == 0:
        raise ValueError(f"{frame.name}: column {frame.target!r} is empty; choose another target")
    if len(kept) == frame.size:
        return frame, ""
    left_out = frame.size - len(kept)
    rows = rows_with_numbers(frame, kept, text)
    return rows, f"{left_out} of {frame.size} rows left out: no {frame.target}"


def fit_labels(frame: Frame, task: str = AUTO) -> Labels:
    """Decide whether the target of a frame has classes or numbers, and return the labels.

    With "auto", text is classes. Integers, written without decimal point and exponent, are classes
    if there are only two different ones, or if each occurs twice on average and there are at most
    `FEW` different ones or they are 0, 1, ... without a gap. Other numbers are numbers.

    Args:
        frame: a frame in which every row has a target.
        task: one of `TASKS`.

    Raises:
        ValueError: the column does not suit the task, or has fewer than 2 or too many classes.
    """
    check_choice("task", task, TASKS)
    name, cells = frame.target, frame.columns[frame.target]
    numeric = all(map(is_number, cells))
    if task == REGRESSION:
        return Labels(_numbers(frame), ())
    classes = _classes(cells)
    if task == AUTO:
        integers = numeric and all(_is_integer(cell) for cell in cells)
        if numeric and not (integers and _are_classes(classes, len(cells))):
            why = f"regression, because {name!r} holds {len(classes)} different integers"
            return Labels(_numbers(frame), (), why if integers else "")
        if not numeric and len(classes) > max(FEW, len(cells) / 2):
            raise ValueError(
                f"{frame.name}: column {name!r} holds {len(classes)} different texts in "
                f"{len(cells)} rows, too many for classes; name another column by target, "
                "or give task=classification"
            )
    if numeric and (fraction := next((x for x in classes if not _is_integer(x)), None)):
        raise ValueError(
            f"{frame.name}: column {name!r} holds {fraction}, but classes are text or integers; "
            "give a loss for numbers, or task=regression"
        )
    if len(classes) == 1:
        raise ValueError(
            f"{frame.name}: column {name!r} is {printable(classes[0])!r} in every row; choose a "
            "column with at least 2 classes by target, or give task=regression"
        )
    if len(classes) > MAX_CLASSES:
        raise ValueError(
            f"{frame.name}: column {name!r} has {len(classes)} classes, and {MAX_CLASSES} at most "
            "are allowed; give task=regression for numbers"
        )
    why = f"{len(classes)} classes, because {name!r} holds {len(classes)} different integers"
    guess = why if numeric and task == AUTO else ""
    return Labels(encode_labels(frame, classes), classes, guess)


def encode_labels(frame: Frame, classes: Sequence[str]) -> Array:
    """Return the labels of a frame for known classes; without classes, the numbers.

    Raises:
        ValueError: a class is not known, or a number is not finite.
    """
    if not classes:
        return _numbers(frame)
    index = {name: k for k, name in enumerate(classes)}
    names = [class_name(cell) for cell in frame.columns[frame.target]]
    for row, name in enumerate(names):
        if name not in index:
            raise ValueError(
                f"{frame.cell(frame.target, row)}: the class {printable(name)!r} is not known; "
                f"the classes are {first_classes(classes)}"
            )
    return np.array([index[name] for name in names], np.int32)


def first_classes(classes: Sequence[str]) -> str:
    """Return the first ten classes as text, for messages."""
    return first_of([*map(printable, classes)], 10)


def class_name(cell: str) -> str:
    """Return the class in a cell; "1", "01" and "1.0" are the same class."""
    if not is_number(cell):
        return cell
    if _is_integer(cell):
        return str(int(cell))  # exact also above 2^53
    number = float(cell)
    return str(int(number)) if number.is_integer() else repr(number)


def _classes(cells: Array) -> tuple[str, ...]:
    """Return the classes in cells, sorted as numbers if all are numbers, else as text."""
    names = {class_name(cell) for cell in set(cells)}
    return tuple(sorted(names, key=float if all(map(is_number, names)) else str))


def _are_classes(classes: Sequence[str], rows: int) -> bool:
    """Return whether "auto" treats integers as classes."""
    if len(classes) <= 2:
        return True
    gapless = list(classes) == [str(k) for k in range(len(classes))]
    return 2 * len(classes) <= rows and (len(classes) <= FEW or gapless)


def _is_integer(cell: str) -> bool:
    return cell.lstrip("+-").isdigit()


def _numbers(frame: Frame) -> Array:
    """Return the target as numbers."""
    cells = frame.columns[frame.target]
    for row, cell in enumerate(cells):
        if not is_number(cell):
            raise ValueError(
                f"{frame.cell(frame.target, row)}: {printable(cell)!r} is not a finite number; "
                "text can be predicted as classes only: leave out task=regression and give a "
                "loss for classes"
            )
    return np.array([float(cell) for cell in cells])
