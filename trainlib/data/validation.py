"""Checks of arrays from files; they return the arrays in the dtypes that models take."""

from __future__ import annotations

import numpy as np

from trainlib.data.examples import Array, Examples

MAX_CLASSES = 10_000


def check_inputs(x: Array, where: str) -> Array:
    """Check inputs and return them in a dtype that models take.

    Args:
        x: booleans or numbers [N, ...] of rank 2 or more.
        where: name of the file and the array, for messages.

    Returns:
        uint8 images of rank 3 or more unchanged, everything else as float32.

    Raises:
        ValueError: x is empty, has rank below 2, holds no real numbers, or holds NaN or infinite
            values.
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
    return _to_float32(x, where)


def check_targets(y: Array, where: str) -> Array:
    """Check targets and return them as int32 labels or float32 values.

    Args:
        y: booleans or numbers, [N] or [N, 1].
        where: name of the file and the array, for messages.

    Returns:
        int32 [N] for booleans and integers, float32 [N] for floats.

    Raises:
        ValueError: y is empty, has another shape, holds no real numbers, holds NaN or infinite
            values, or holds integers that cannot be labels.
    """
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim != 1:
        raise ValueError(
            f"{where} has shape {y.shape}; give one value for each example, [N] or [N, 1]"
        )
    if y.size == 0:
        raise ValueError(f"{where} has no values; give at least one example")
    if y.dtype.kind not in "biu":
        return _to_float32(y, where)
    for place, extreme in ((y.argmin(), y.min()), (y.argmax(), y.max())):
        if not 0 <= extreme < MAX_CLASSES:
            raise ValueError(
                f"{where} has the label {extreme} at index {place}; integers are class labels "
                f"from 0 to below {MAX_CLASSES}, write quantities as floats"
            )
    return y.astype(np.int32)


def check_examples(x: Array, y: Array, x_where: str, y_where: str) -> Examples:
    """Check inputs and targets, and that their numbers of examples are equal.

    Raises:
        ValueError: an array is not valid (see `check_inputs`, `check_targets`), or their lengths
            differ.
    """
    inputs, targets = check_inputs(x, x_where), check_targets(y, y_where)
    if len(inputs) != len(targets):
        raise ValueError(
            f"{x_where} has {len(inputs)} examples but {y_where} has {len(targets)}; "
            "give both the same number of examples"
        )
    return Examples(inputs, targets)


def check_parts(train: Examples, test: Examples, source: str) -> None:
    """Check that both parts of a data set hold the same kind of examples.

    Raises:
        ValueError: the parts differ in the shape or dtype of one example.
    """
    for field in Examples._fields:
        first, second = getattr(train, field), getattr(test, field)
        if (first.dtype, first.shape[1:]) != (second.dtype, second.shape[1:]):
            raise ValueError(
                f"{source}: one example of {field} is {first.dtype} {first.shape[1:]} in the "
                f"training part but {second.dtype} {second.shape[1:]} in the test part; "
                "store both in the same way"
            )


def count_classes(train: Examples, test: Examples, source: str) -> int:
    """Return the number of classes: the highest training label plus 1, or 0 for regression.

    Raises:
        ValueError: there are fewer than 2 classes, or the test part has a label above those of the
            training part.
    """
    if train.y.dtype.kind == "f":
        return 0
    classes = int(train.y.max()) + 1
    if classes < 2:
        raise ValueError(
            f"{source}: every training label is 0; give at least 2 classes, or floats for "
            "regression"
        )
    if int(test.y.max()) >= classes:
        raise ValueError(
            f"{source}: the test part has the label {int(test.y.max())}, but the training labels "
            f"end at {classes - 1}; put examples of every class into the training part"
        )
    return classes


def _to_float32(array: Array, where: str) -> Array:
    """Return numbers as float32, all of them finite."""
    if array.dtype.kind not in "biuf":
        raise ValueError(f"{where} has dtype {array.dtype}; give booleans, integers or floats")
    # A float64 above the float32 range becomes infinite here and is reported below.
    with np.errstate(over="ignore"):
        values = array.astype(np.float32)
    bad = ~np.isfinite(values)
    if bad.any():
        first = tuple(int(place) for place in np.argwhere(bad)[0])
        raise ValueError(
            f"{where} has {int(bad.sum())} values that are NaN or infinite as float32, the first "
            f"at index {first}; remove or replace them"
        )
    return values
