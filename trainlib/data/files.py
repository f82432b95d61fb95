"""Data sets from the user's files: .npz archives and .csv tables."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from trainlib.data.examples import Array, Dataset, Examples, split_test
from trainlib.data.tables import Table, has_integers, read_npz, read_numbers, read_table
from trainlib.data.validation import check_examples, check_inputs, check_parts, count_classes

SUFFIXES = (".npz", ".csv", ".csv.gz")

PARTS = ("x_train", "y_train", "x_test", "y_test")


def is_file_path(name: str) -> bool:
    """Return whether a name is the path of a data file instead of the name of a data set."""
    return name.lower().endswith(SUFFIXES)


def load_file(path: Path, target: str | None = None) -> Dataset:
    """Load a data set from a file.

    Args:
        path: an .npz archive with the arrays x_train, y_train, x_test and y_test, or x and y; or
            a .csv or .csv.gz table with a header and a number in every cell.
        target: the column of a table to predict. Default: None, the last.

    Returns:
        A data set named after the file. uint8 x of rank 3 or more stays uint8, with x_max 255.0;
        other x becomes float32, with x_max 0.0. Integer targets are labels, float targets a
        regression; in a table, targets are integers if each is written without a decimal point
        and without an exponent. Without x_test and y_test, a fixed 20 % is the test part.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file or its values are not valid, or it has no column `target`.
    """
    if not path.name.lower().endswith(".npz"):
        return _load_table(path, target)
    if target is not None:
        raise ValueError(
            f"target is {target!r}, but {path} has no columns; leave it out, the targets are the "
            "array y"
        )
    return load_archive(path, path.name)


def load_archive(path: Path, name: str) -> Dataset:
    """Load an .npz archive as a data set with a name; see `load_file`."""
    arrays = read_npz(path)
    return from_arrays(arrays, name, str(path))


def from_arrays(arrays: dict[str, Array], name: str, source: str) -> Dataset:
    """Return arrays as a data set with a name; `source` is where they are from, for messages."""
    if all(part in arrays for part in PARTS):
        train, test = (
            _pair(arrays, source, f"x_{part}", f"y_{part}") for part in ("train", "test")
        )
    elif "x" in arrays and "y" in arrays:
        train, test = split_test(_pair(arrays, source, "x", "y"), source)
    else:
        raise ValueError(
            f"{source} holds the arrays {', '.join(arrays) or 'none'}; give {', '.join(PARTS)}, "
            "or x and y"
        )
    check_parts(train, test, source)
    classes = count_classes(train, test, source)
    return Dataset(name, train, test, classes, 255.0 if train.x.dtype == np.uint8 else 0.0)


def load_examples(
    path: str | os.PathLike[str],
    target: str | None = None,
    feature_names: Sequence[str] = (),
) -> Array:
    """Load inputs without targets, for predictions.

    Args:
        path: an .npz archive with the array x or x_test, or a .csv or .csv.gz table.
        target: a column of the table to leave out. Default: None; ignored for archives.
        feature_names: the columns of the table to read, in this order. Default: (), all but
            `target`. Ignored for archives.

    Returns:
        An array [N, ...]: uint8 images of rank 3 or more, or float32.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the path has another suffix, the file or its values are not valid, or a column
            of `feature_names` is missing.

    Example:
        >>> np.savez("inputs.npz", x=np.ones((2, 4)))
        >>> tl.data.load_examples("inputs.npz").dtype
        dtype('float32')
    """
    source = Path(path).expanduser()
    if not is_file_path(source.name):
        raise ValueError(f"{source} does not end in {', '.join(SUFFIXES)}; give a file that does")
    if source.name.lower().endswith(".npz"):
        arrays = read_npz(source)
        for name in ("x", "x_test"):
            if name in arrays:
                return check_inputs(arrays[name], f"{source}, {name}")
        raise ValueError(f"{source} holds the arrays {', '.join(arrays) or 'none'}; give x")
    table = read_table(source)
    columns = tuple(feature_names) or _features(table, target)
    return read_numbers(table, columns).astype(np.float32)


def _load_table(path: Path, target: str | None) -> Dataset:
    table = read_table(path)
    column = table.names[-1] if target is None else target
    if column not in table.names:
        raise ValueError(
            f"target is {column!r}, but {path} has no such column; give one of "
            f"{', '.join(table.names)}"
        )
    features = _features(table, column)
    y = read_numbers(table, [column])[:, 0]
    if has_integers(table, column):
        y = y.astype(np.int64)
    x_where, y_where = f"{path}, the feature columns", f"{path}, column {column!r}"
    examples = check_examples(read_numbers(table, features), y, x_where, y_where)
    train, test = split_test(examples, str(path))
    classes = count_classes(train, test, str(path))
    return Dataset(path.name, train, test, classes, 0.0, features)


def _features(table: Table, target: str | None) -> tuple[str, ...]:
    features = tuple(name for name in table.names if name != target)
    if not features:
        raise ValueError(
            f"{table.path} has the one column {table.names[0]!r}; give features and a target, "
            "comma-separated"
        )
    return features


def _pair(arrays: dict[str, Array], source: str, x: str, y: str) -> Examples:
    return check_examples(arrays[x], arrays[y], f"{source}, {x}", f"{source}, {y}")
