"""Checks of arrays from files. They return the arrays in the dtypes that models take."""

from __future__ import annotations

import numpy as np

from trainlib.data.archives import Array
from trainlib.data.examples import Examples
from trainlib.data.labels import CLASSIFICATION, MAX_CLASSES, REGRESSION
from trainlib.data.named_arrays import WHOLE, flat_names


def check_inputs(x: Array, where: str, dtype: str = "float32") -> Array:
    """Check inputs and return them in a dtype that models take.

    Args:
        x: booleans or numbers [N, ...] of rank 2 or more.
        where: name of the file and the array, for messages.
        dtype: "float32" or "float64". Default: "float32".

    Returns:
        uint8 images of rank 3 or more unchanged, everything else in that dtype.

    Raises:
        ValueError: x is empty, has a rank below 2, or has values that are not finite real numbers.
    """
    if x.ndim < 2:
        raise ValueError(
            f"{where} has shape {x.shape}; give one row for each example, [N, features]"
        )
    if x.size == 0:
        raise ValueError(
            f"{where} has shape {x.shape}, which holds no values; give at least one example"
        )
    if x.dtype == np.uint8 and x.ndim >= 3:
        return x
    return to_floats(x, where, dtype)


def check_sequences(x: Array, where: str) -> Array:
    """Check sequences of integers, padded with 0 at their ends, and return them as int32.

    Args:
        x: integers [N, steps] of at least 0.
        where: name of the file and the array, for messages.

    Raises:
        ValueError: a number is below 0 or above the range of int32, or a sequence is empty.
    """
    if x.size == 0:
        raise ValueError(f"{where} has shape {x.shape}; give at least one sequence of one integer")
    if x.min() < 0 or x.max() > np.iinfo(np.int32).max:
        bad = x.min() if x.min() < 0 else x.max()
        raise ValueError(f"{where} holds {bad}; sequences are integers from 0, the padding")
    empty = ~x.any(axis=1)
    if empty.any():
        raise ValueError(
            f"{where}: the sequence at index {int(empty.argmax())} holds 0 only, which is padding; "
            "remove it"
        )
    return x.astype(np.int32)


def are_sequences(x: Array) -> bool:
    """Return whether an array has the form of sequences of integers, [N, steps]."""
    return x.ndim == 2 and x.dtype.kind in "iu"


def check_targets(y: Array, where: str, dtype: str = "float32", task: str = "auto") -> Array:
    """Check targets and return them as int32 labels or floating values.

    Args:
        y: booleans or numbers, [N] or [N, 1].
        where: name of the file and the array, for messages.
        dtype: "float32" or "float64". Default: "float32".
        task: "classification" or "regression". Default: "auto", classification for booleans and
            integers, regression for floats.

    Returns:
        int32 [N] for classification, floats of that dtype for regression.

    Raises:
        ValueError: y is empty, has another shape, or has values that are not finite real numbers or
            cannot be labels.
    """
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim != 1:
        raise ValueError(
            f"{where} has shape {y.shape}; give one value for each example, [N] or [N, 1]"
        )
    if y.size == 0:
        raise ValueError(f"{where} has no values; give at least one example")
    if y.dtype.kind not in "biu" and task == CLASSIFICATION:
        y = _to_integers(y, where)
    if y.dtype.kind not in "biu" or task == REGRESSION:
        return to_floats(y, where, dtype)
    for place, extreme in ((y.argmin(), y.min()), (y.argmax(), y.max())):
        if not 0 <= extreme < MAX_CLASSES:
            raise ValueError(
                f"{where} has the label {extreme} at index {place}; integers are class labels "
                f"from 0 to below {MAX_CLASSES}, unless task=regression"
            )
    return y.astype(np.int32)


def check_examples(
    x: Array, y: Array, where: tuple[str, str], dtype: str = "float32", task: str = "auto"
) -> Examples:
    """Check inputs and targets, and that their numbers of examples are equal.

    Args:
        x: inputs, as for `check_inputs`.
        y: targets, as for `check_targets`.
        where: names of both for messages.
        dtype: "float32" or "float64". Default: "float32".
        task: as for `check_targets`.

    Raises:
        ValueError: an array is not valid (see `check_inputs`, `check_targets`), or their lengths
            differ.
    """
    inputs = check_inputs(x, where[0], dtype)
    targets = check_targets(y, where[1], dtype, task)
    return Examples(inputs, check_lengths(inputs, targets, where))


def check_lengths(inputs: Array, targets: Array, where: tuple[str, str]) -> Array:
    """Return the targets after checking that there are as many as inputs.

    Raises:
        ValueError: the numbers differ.
    """
    if len(inputs) != len(targets):
        raise ValueError(
            f"{where[0]} has {len(inputs)} examples but {where[1]} has {len(targets)}; "
            "give both the same number of examples"
        )
    return targets


def check_weights(weights: Array, size: int, where: str, dtype: str = "float32") -> Array:
    """Check weights of examples and return them in a floating dtype.

    Args:
        weights: numbers of at least 0, [N] or [N, 1], not all 0.
        size: number of examples N.
        where: name of the file and the array, for messages.
        dtype: "float32" or "float64". Default: "float32".

    Raises:
        ValueError: the weights have another shape or other values.
    """
    if weights.shape not in ((size,), (size, 1)):
        raise ValueError(f"{where} has shape {weights.shape}; give one weight for each example")
    values = to_floats(weights.reshape(-1), where, dtype)
    if (values < 0).any() or not values.any():
        raise ValueError(f"{where} holds weights below 0, or 0 only; give numbers of at least 0")
    return values


def check_parts(train: Examples, test: Examples, source: str) -> None:
    """Check that the examples of both parts of a data set have the same form.

    Raises:
        ValueError: the parts differ in the names of inputs or outputs, or in the shape or dtype of
            one example.
    """
    ours, theirs = _by_name(train), _by_name(test)
    if set(ours) != set(theirs):
        raise ValueError(
            f"{source}: the training part has {', '.join(ours)}, the test part "
            f"{', '.join(theirs)}; give both the same names"
        )
    for field, first in ours.items():
        second = theirs[field]
        if (first.dtype, first.shape[1:]) != (second.dtype, second.shape[1:]):
            raise ValueError(
                f"{source}: one example of {field} is {first.dtype} {first.shape[1:]} in the "
                f"training part but {second.dtype} {second.shape[1:]} in the test part; "
                "store both in the same way"
            )


def _by_name(examples: Examples) -> dict[str, Array]:
    """Return the arrays of examples by their names in an archive."""
    return flat_names("x", WHOLE, examples.x) | flat_names("y", WHOLE, examples.y)


def count_classes(train: Array, test: Array, source: str) -> int:
    """Return the number of classes, the largest training label plus 1; 0 for regression.

    Args:
        train: targets of the training part.
        test: targets of another part.
        source: name of the data, for messages.

    Raises:
        ValueError: there are fewer than 2 classes, or the test part has a label above those of the
            training part.
    """
    if train.dtype.kind == "f":
        return 0
    classes = int(train.max()) + 1
    if classes < 2:
        raise ValueError(
            f"{source}: every training label is 0; give at least 2 classes, or floats for "
            "regression"
        )
    if int(test.max()) >= classes:
        raise ValueError(
            f"{source}: the test part has the label {int(test.max())}, but the training labels "
            f"end at {classes - 1}; put examples of every class into the training part"
        )
    return classes


def to_floats(array: Array, where: str, dtype: str = "float32") -> Array:
    """Return numbers in a floating dtype.

    Raises:
        ValueError: a value is not a real number, or not finite in that dtype.
    """
    if array.dtype.kind not in "biuf":
        raise ValueError(f"{where} has dtype {array.dtype}; give booleans, integers or floats")
    # A float64 above the float32 range becomes infinite here and is reported below.
    with np.errstate(over="ignore"):
        values = array.astype(dtype)
    bad = ~np.isfinite(values)
    if bad.any():
        first = tuple(int(place) for place in np.argwhere(bad)[0])
        raise ValueError(
            f"{where} has {int(bad.sum())} values that are NaN or infinite as {dtype}, the first "
            f"at index {first}; remove or replace them"
        )
    return values


def _to_integers(y: Array, where: str) -> Array:
    """Return floats that are labels as integers."""
    values = to_floats(y, where, "float64")
    if (bad := values % 1 != 0).any():
        raise ValueError(
            f"{where} has the label {values[bad][0]:g} at index {int(np.argmax(bad))}; classes are "
            "integers, so leave out task or give task=regression"
        )
    return values.astype(np.int64)
