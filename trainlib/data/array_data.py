"""Data sets from arrays by name, as in an .npz archive; `named_arrays.py` defines the names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from trainlib.data.archives import Array
from trainlib.data.examples import (
    TEST,
    TRAIN,
    VALIDATION,
    Dataset,
    Examples,
    pick,
    split_test_indices,
)
from trainlib.data.named_arrays import WHOLE, Arrays, array_name, arrays_of_part
from trainlib.data.reading import Reading
from trainlib.data.validation import (
    are_sequences,
    check_inputs,
    check_lengths,
    check_parts,
    check_sequences,
    check_targets,
    check_weights,
    count_classes,
)
from trainlib.training.paths import printable

PARTS = ("x_train", "y_train", "x_test", "y_test")
"""Names of the arrays of an archive with a training and a test part, and one input and output."""


def from_arrays(arrays: dict[str, Array], name: str, source: str, reading: Reading) -> Dataset:
    """Return arrays as a data set with a name; `source` is their origin, for messages."""
    found = {part: examples_of(arrays, source, part, reading) for part in (TRAIN, TEST)}
    train, test, stratified = found[TRAIN], found[TEST], False
    if train is not None and test is not None:
        weights = _given_weights(arrays, "weight_train", train, source, reading)
    elif pair := examples_of(arrays, source, WHOLE, reading):
        train, test, kept, stratified = _split(pair, source, reading)
        weights = _given_weights(arrays, "weight", pair, source, reading)
        weights = None if weights is None else weights[kept]
    else:
        raise ValueError(
            f"{source} holds the arrays {listed(arrays)}; give {', '.join(PARTS)}, or x and y; of "
            "several inputs or outputs x_NAME_train, ... or x_NAME and y_NAME"
        )
    validation = examples_of(arrays, source, VALIDATION, reading)
    parts = [test] if validation is None else [test, validation]
    for part in parts:
        check_parts(train, part, source)
    classes = _classes(train.y, [part.y for part in parts], source)
    is_image = not isinstance(train.x, Mapping) and train.x.dtype == np.uint8
    return Dataset(
        name,
        train,
        test,
        next(iter(classes.values())),
        255.0 if is_image else 0.0,
        validation=validation,
        stratified=stratified,
        vocabulary=_vocabulary([train, *parts]),
        weights=weights,
        output_classes=classes if isinstance(train.y, Mapping) else {},
    )


def _split(
    examples: Examples, source: str, reading: Reading
) -> tuple[Examples, Examples, Array, bool]:
    """Return a training and a test part, the indices of the first, and whether it is stratified."""
    y = examples.y
    by_class = reading.stratify and not isinstance(y, Mapping) and y.dtype.kind == "i"
    kept, held_out = split_test_indices(examples.size, source, y if by_class else None)
    return pick(examples, kept), pick(examples, held_out), kept, by_class


def _classes(train: Arrays, others: Sequence[Arrays], source: str) -> dict[str, int]:
    """Return the number of classes by output; "" is the name of a single output."""

    def count(name: str, y: Array, rest: list[Array]) -> int:
        where = f"{source}, y_{name}" if name else source
        return min(count_classes(y, part, where) for part in rest)

    if not isinstance(train, Mapping):
        return {"": count("", train, list(others))}
    return {name: count(name, y, [part[name] for part in others]) for name, y in train.items()}


def _vocabulary(parts: Sequence[Examples]) -> int:
    """Return the number of different integers in sequences, with padding; 0 for other inputs."""
    x = [part.x for part in parts]
    if isinstance(x[0], Mapping) or x[0].dtype != "int32":
        return 0
    return 1 + max(int(part.max()) for part in x)


def _given_weights(
    arrays: dict[str, Array], name: str, examples: Examples, source: str, reading: Reading
) -> Array | None:
    """Return the weights of examples in the array with a name; None if there is none.

    Raises:
        ValueError: the weights are not valid, belong to one of several outputs, or have the name
            of those of other arrays.
    """
    for key in arrays:
        output = key.removeprefix("weight_").removesuffix(f"_{TRAIN}")
        if key.startswith("weight_") and isinstance(examples.y, Mapping) and output in examples.y:
            raise ValueError(
                f"{source} holds {printable(key)}: weights are those of the examples, for all "
                f"outputs; name them {name}"
            )
    if name not in arrays:
        other = "weight" if name != "weight" else f"weight_{TRAIN}"
        if other in arrays:
            raise ValueError(f"{source} holds {other}, but its other arrays need {name}: rename it")
        return None
    return check_weights(arrays[name], examples.size, f"{source}, {name}", reading.dtype)


def examples_of(
    arrays: dict[str, Array], source: str, part: str, reading: Reading
) -> Examples | None:
    """Return the examples of a part, after checks; None without inputs or targets.

    Raises:
        ValueError: an array is not valid, or the numbers of examples differ.
    """
    x = inputs_of(arrays, source, part, reading)
    given = arrays_of_part(arrays, "y", part, source)
    if not x or not given:
        return None
    y: dict[str, Array] = {}
    for name, targets in given.items():
        where = f"{source}, {array_name('y', name, part)}"
        task = reading.output_task if name else reading.task
        y[name] = check_targets(targets, where, reading.dtype, task)
    for kind, named in (("x", x), ("y", y)):
        for name, array in named.items():
            first = array_name("x", next(iter(x)), part)
            names = (f"{source}, {first}", f"{source}, {array_name(kind, name, part)}")
            check_lengths(next(iter(x.values())), array, names)
    return Examples(one_or_all(x), one_or_all(y))


def inputs_of(
    arrays: dict[str, Array], source: str, part: str, reading: Reading
) -> dict[str, Array]:
    """Return the inputs of a part by name, after checks; {} if there are none."""
    checked: dict[str, Array] = {}
    for name, x in arrays_of_part(arrays, "x", part, source).items():
        where = f"{source}, {array_name('x', name, part)}"
        if reading.sequences and not name and are_sequences(x):
            checked[name] = check_sequences(x, where)
        else:
            checked[name] = check_inputs(x, where, reading.dtype)
    return checked


def one_or_all(named: dict[str, Array]) -> Arrays:
    """Return the single array, whose name is "", or all arrays by name."""
    return named[""] if "" in named else named


def listed(arrays: dict[str, Array]) -> str:
    return ", ".join(map(printable, arrays)) or "none"
