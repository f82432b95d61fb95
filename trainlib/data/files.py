"""Data sets from .npz archives and tables."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from trainlib.data.archives import Array, names_in_npz, read_npz
from trainlib.data.array_data import examples_of, from_arrays, inputs_of, listed, one_or_all
from trainlib.data.examples import (
    TEST,
    Dataset,
    Examples,
    split_test_indices,
)
from trainlib.data.frames import PARQUET, Frame, read_frame
from trainlib.data.image_folder import load_image_folder, load_labelled_images
from trainlib.data.image_listing import has_part_folders
from trainlib.data.labels import (
    AUTO,
    CLASSIFICATION,
    Labels,
    encode_labels,
    first_classes,
    fit_labels,
    with_targets,
)
from trainlib.data.named_arrays import WHOLE, Arrays, arrays_of_part
from trainlib.data.preprocessing import TablePreprocessing, fit_preprocessing
from trainlib.data.reading import Reading
from trainlib.data.validation import (
    to_floats,
)
from trainlib.training.paths import expanded, shown

TABLES = (".csv", ".csv.gz", ".tsv", ".tsv.gz", PARQUET)
"""Suffixes of tables, which have a column to predict."""
SUFFIXES = (".npz", *TABLES)


def is_file_path(name: str) -> bool:
    """Return whether a name is the path of a data file, and not the name of a data set."""
    return name.lower().endswith(SUFFIXES)


def is_table(name: str) -> bool:
    """Return whether a name is the path of a table."""
    return name.lower().endswith(TABLES)


def load_file(path: Path, reading: Reading) -> Dataset:
    """Load a data set from a file or a folder.

    Args:
        path: a table with a header; a folder of images; or an .npz archive. The archive has the
            arrays x_train, y_train, x_test and y_test, or x and y; optionally x_validation and
            y_validation, and the weights of the training examples, weight_train or weight. For
            several inputs or outputs they are x_NAME_train, ..., or x_NAME and y_NAME.
        reading: options for reading the file.

    Returns:
        A data set named after the file. uint8 x of rank 3 or more stays uint8, with x_max 255.0;
        other x becomes floating, with x_max 0.0. Without x_test and y_test, a fixed 20 % is the
        test part.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: the file or its values are not valid, or the target does not exist.
    """
    if is_table(path.name):
        return _load_table(path, reading)
    if reading.target is not None:
        raise ValueError(
            f"target is {reading.target!r}, but {shown(path)} has no columns; leave it out, the "
            "targets are the array y, or the folders of images"
        )
    if path.is_dir():
        return load_image_folder(path, reading.images, reading.stratify)
    return load_archive(path, path.name, reading)


def load_archive(path: Path, name: str, reading: Reading) -> Dataset:
    """Load an .npz archive as a data set with a name; see `load_file`."""
    arrays = read_npz(path)
    return from_arrays(arrays, name, shown(path), reading)


def has_parts(path: Path) -> bool:
    """Return whether a file has a test part, or a folder has folders of parts.

    Raises:
        FileNotFoundError, ValueError: the file does not exist or is damaged, or the parts of the
            folder are not complete.
    """
    if path.is_dir():
        return has_part_folders(path)
    if is_table(path.name):
        return False
    names: dict[str, Any] = dict.fromkeys(names_in_npz(path))
    return bool(arrays_of_part(names, "x", TEST, shown(path)))


def load_all_examples(
    path: Path, classes: int, reading: Reading
) -> tuple[Examples, tuple[str, ...]]:
    """Load every example of a file without parts, to evaluate a model on them.

    Args:
        path: an .npz archive with the arrays x and y, a table, or a folder of images.
        classes: number of classes of the model; 0 if it predicts numbers.
        reading: options for reading the file; for a table, with the rules of the model.

    Returns:
        The examples, and lines on differences from the training data.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file or its values are not valid, a column is missing, or an example has a
            class that the model does not know.
    """
    if reading.preprocessing is not None and is_table(path.name):
        rules = reading.preprocessing
        read = read_frame(path, rules.target, rules.text_columns, rules.decimal)
        frame, note = with_targets(read, rules.text_columns)
        y = encode_labels(frame, rules.classes)
        encoded = rules.encode(frame)
        notes = (*([note] if note else []), *encoded.notes)
        return _table_examples(encoded.x, y, shown(path), reading.dtype), notes
    if is_table(path.name):
        raise ValueError(
            f"{shown(path)} is a table, but the folder of the run has no preprocessing.json, the "
            "rules of its columns: the run was trained on other data, or the file was removed"
        )
    if path.is_dir():
        return load_labelled_images(path, reading.images), ()
    arrays = read_npz(path)
    examples = examples_of(arrays, shown(path), WHOLE, reading)
    if examples is None:
        raise ValueError(f"{shown(path)} holds the arrays {listed(arrays)}; give x and y")
    if not isinstance(examples.y, Mapping):
        check_labels(examples.y, classes, f"{shown(path)}, y")
    return examples, ()


def check_labels(y: Array, classes: int, where: str) -> None:
    """Raise `ValueError` for a label that a model with some classes does not know; 0: no check."""
    if classes and y.dtype.kind == "i" and int(y.max()) >= classes:
        raise ValueError(
            f"{where} has the label {int(y.max())} at index {int(y.argmax())}, but the model knows "
            f"the classes 0 to {classes - 1}"
        )


def load_examples(
    path: str | os.PathLike[str],
    target: str | None = None,
    feature_names: Sequence[str] = (),
    *,
    preprocessing: TablePreprocessing | None = None,
    dtype: str = "float32",
    sequences: bool = False,
) -> Arrays:
    """Load inputs without targets, for predictions.

    Args:
        path: a table, or an .npz archive with the array x or x_test, or x_NAME for several inputs.
        target: column of the table to leave out. Default: None. Ignored for archives.
        feature_names: columns of the table to read, in this order. Default: (), all but `target`.
            Ignored for archives.
        preprocessing: rules of the table's columns, as of `Dataset.preprocessing`, instead of
            `target` and `feature_names`. Default: None, the columns are numbers.
        dtype: "float32" or "float64". Default: "float32".
        sequences: whether integers [N, steps] of an archive are sequences. Default: False, they are
            columns of numbers.

    Returns:
        An array [N, ...]: uint8 images of rank 3 or more, int32 sequences, or floats of that dtype;
        of several inputs a dict of such arrays by their names.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the path has another suffix, the file or its values are not valid, or a column
            is missing.

    Example:
        >>> np.savez("inputs.npz", x=np.ones((2, 4)))
        >>> tl.data.load_examples("inputs.npz").dtype
        dtype('float32')
    """
    source = expanded(path)
    if not is_file_path(source.name):
        raise ValueError(
            f"{shown(source)} does not end in {', '.join(SUFFIXES)}; give a file that does"
        )
    if not is_table(source.name):
        arrays, reading = read_npz(source), Reading(dtype=dtype, sequences=sequences)
        for part in (WHOLE, TEST):
            if found := inputs_of(arrays, shown(source), part, reading):
                return one_or_all(found)
        raise ValueError(f"{shown(source)} holds the arrays {listed(arrays)}; give x")
    if preprocessing is not None:
        return load_inputs(source, preprocessing, dtype)[0]
    frame = read_frame(source, "" if target is None else target)
    names = tuple(feature_names) or tuple(n for n in frame.columns if n and n != target)
    numbers = np.stack([frame.numbers(name) for name in names], 1)
    return to_floats(numbers, f"{shown(source)}, its columns", dtype)


def load_inputs(path: Path, rules: TablePreprocessing, dtype: str) -> tuple[Array, tuple[str, ...]]:
    """Load the inputs of a table by rules, and lines on differences from the training data."""
    frame = read_frame(path, rules.target, rules.text_columns, rules.decimal)
    encoded = rules.encode(frame)
    return to_floats(encoded.x, f"{shown(path)}, its columns", dtype), encoded.notes


def _load_table(path: Path, reading: Reading) -> Dataset:
    """Load a table as a data set."""
    rules = reading.preprocessing
    target = reading.target if reading.target is not None or rules is None else rules.target
    text, decimal = ((), None) if rules is None else (rules.text_columns, rules.decimal)
    read = read_frame(path, target, text, decimal)
    frame, note = with_targets(read, text)
    if rules is not None and not reading.new_labels and _has_labels(rules, frame, reading.task):
        labels = Labels(encode_labels(frame, rules.classes), rules.classes)
    else:
        labels = fit_labels(frame, reading.task)
    stratified = reading.stratify and bool(labels.classes)
    kept, held_out = split_test_indices(frame.size, shown(path), labels.y if stratified else None)
    if rules is None:
        chosen = reading.training_rows
        rows = kept if chosen is None else kept[chosen(labels.y[kept])]
        rules = fit_preprocessing(frame, rows, labels.classes, reading.other_columns)
    else:
        rules = dataclasses.replace(rules, target=frame.target, classes=labels.classes)
    weights = None if reading.weight_column is None else _weights(frame, reading.weight_column)
    groups = None if reading.group_column is None else _groups(frame, reading.group_column)
    encoded = rules.encode(frame)
    examples = _table_examples(encoded.x, labels.y, shown(path), reading.dtype)
    numbered = labels.classes == tuple(str(k) for k in range(len(labels.classes)))
    notes = (note, _describe_classes(labels), *rules.describe(), *encoded.notes)
    return Dataset(
        path.name,
        Examples(examples.x[kept], examples.y[kept]),
        Examples(examples.x[held_out], examples.y[held_out]),
        len(labels.classes),
        0.0,
        rules.inputs,
        () if numbered else labels.classes,
        rules,
        tuple(line for line in notes if line),
        labels.guess,
        stratified=stratified,
        weights=None if weights is None else weights[kept].astype(reading.dtype),
        groups=None if groups is None else groups[kept],
    )


def _groups(frame: Frame, name: str) -> Array:
    """Return the groups in a column, numbered from 0.

    Raises:
        ValueError: the column does not exist or is the target, or a cell is empty.
    """
    if name == frame.target:
        raise ValueError(f"group_column is {name!r}, the column to predict; name another")
    values = frame.column(name)
    empty = np.array([x is None or x != x for x in values])
    if empty.any():
        raise ValueError(f"{frame.cell(name, int(empty.argmax()))} is empty; give a group")
    return np.asarray(np.unique(values.astype(str), return_inverse=True)[1])


def _weights(frame: Frame, name: str) -> Array:
    """Return the weights in a column.

    Raises:
        ValueError: the column does not exist or is the target, a weight is not a number of at least
            0, or all weights are 0.
    """
    if name == frame.target:
        raise ValueError(f"sample_weight_column is {name!r}, the column to predict; name another")
    weights = frame.numbers(name)
    if (weights < 0).any():
        row = int(np.argmax(weights < 0))
        raise ValueError(f"{frame.cell(name, row)}: the weight {weights[row]:g} is below 0")
    if not weights.any():
        raise ValueError(f"{frame.name}: every weight in column {name!r} is 0")
    return weights


def _describe_classes(labels: Labels) -> str:
    """Return a line on the classes of a table; "" for numbers, or if `guess` mentions them."""
    if not labels.classes or labels.guess:
        return ""
    return f"{len(labels.classes)} classes: {first_classes(labels.classes)}"


def _has_labels(rules: TablePreprocessing, frame: Frame, task: str) -> bool:
    """Return whether preprocessing rules have the labels of the target for a task."""
    suits = task == AUTO or (task == CLASSIFICATION) == bool(rules.classes)
    return rules.target == frame.target and suits


def _table_examples(x: Array, y: Array, name: str, dtype: str) -> Examples:
    """Return the examples of a table in a floating dtype."""
    targets = y if y.dtype.kind == "i" else to_floats(y, f"{name}, the target", dtype)
    return Examples(to_floats(x, f"{name}, its columns", dtype), targets)
