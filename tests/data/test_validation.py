"""The checks of arrays that come from files."""

from __future__ import annotations

import numpy as np
import pytest

from trainlib.data.examples import Examples
from trainlib.data.validation import (
    check_examples,
    check_inputs,
    check_parts,
    check_targets,
    count_classes,
)


@pytest.mark.parametrize("dtype", ["float64", "int64", "bool", "uint8", "float16"])
def test_tabular_inputs_become_float32(dtype: str) -> None:
    assert check_inputs(np.ones((3, 2), dtype), "x").dtype == np.float32


def test_images_stay_uint8() -> None:
    assert check_inputs(np.ones((3, 2, 2), np.uint8), "x").dtype == np.uint8


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.ones(3), r"x has shape \(3,\)"),
        (np.ones((0, 3)), "no values"),
        (np.ones((3, 0)), "no values"),
        (np.array([["a"]]), "dtype <U1"),
        (np.array([[1j]]), "dtype complex128"),
        (np.array([[0, np.nan], [np.inf, 0]]), r"2 values .* first at index \(0, 1\)"),
        (np.array([[1e300]]), "1 values .* infinite as float32"),
    ],
)
def test_invalid_inputs_raise_an_error(x: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_inputs(x, "x")


@pytest.mark.parametrize("dtype", ["int64", "uint8", "bool"])
def test_integer_targets_become_labels(dtype: str) -> None:
    labels = check_targets(np.array([[1], [0]], dtype), "y")
    assert (labels.dtype, labels.tolist()) == (np.int32, [1, 0])


def test_float_targets_become_float32() -> None:
    assert check_targets(np.array([1.0, 2.0]), "y").dtype == np.float32


def test_float64_is_kept_where_it_is_asked_for() -> None:
    third = np.array([[1 / 3], [1e300]])
    assert check_inputs(third, "x", "float64").tolist() == third.tolist()
    assert check_targets(third, "y", "float64").tolist() == third[:, 0].tolist()


def test_the_task_decides_what_numbers_are() -> None:
    counts = check_targets(np.array([3, -1, 99_999]), "y", task="regression")
    assert (counts.dtype, counts.tolist()) == (np.float32, [3, -1, 99_999])
    labels = check_targets(np.array([1.0, 0.0]), "y", task="classification")
    assert (labels.dtype, labels.tolist()) == (np.int32, [1, 0])
    with pytest.raises(ValueError, match="label 0.5 at index 1; classes are integers"):
        check_targets(np.array([1.0, 0.5]), "y", task="classification")


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (np.ones((3, 2)), r"shape \(3, 2\)"),
        (np.ones(0, int), "no values"),
        (np.array([0, -1]), "label -1 at index 1"),
        (np.array([0, 452600]), "label 452600 at index 1.*unless task=regression"),
        (np.array([2**64 - 1], np.uint64), "label 18446744073709551615"),
        (np.array([0.0, np.nan]), r"first at index \(1,\)"),
        (np.array(["a"]), "dtype <U1"),
    ],
)
def test_invalid_targets_raise_an_error(y: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_targets(y, "y")


def test_inputs_and_targets_of_different_lengths_raise_an_error() -> None:
    with pytest.raises(ValueError, match="a has 3 examples but b has 2"):
        check_examples(np.ones((3, 1)), np.ones(2), ("a", "b"))


def part(labels: list[int], width: int = 1) -> Examples:
    return Examples(np.ones((len(labels), width), np.float32), np.array(labels, np.int32))


def test_parts_of_different_shapes_or_dtypes_raise_an_error() -> None:
    with pytest.raises(ValueError, match=r"f: one example of x is float32 \(1,\)"):
        check_parts(part([0]), part([0], width=2), "f")
    other = Examples(part([0]).x, np.ones(1, np.float32))
    with pytest.raises(ValueError, match="one example of y is int32 .* float32"):
        check_parts(part([0]), other, "f")


def test_classes_are_counted_from_the_training_labels() -> None:
    assert count_classes(part([0, 4]).y, part([1]).y, "f") == 5
    floats = Examples(np.ones((1, 1)), np.ones(1, np.float32))
    assert count_classes(floats.y, floats.y, "f") == 0


def test_labels_that_the_training_part_lacks_raise_an_error() -> None:
    with pytest.raises(ValueError, match="at least 2 classes"):
        count_classes(part([0, 0]).y, part([0]).y, "f")
    with pytest.raises(ValueError, match="test part has the label 2, .* end at 1"):
        count_classes(part([0, 1]).y, part([2]).y, "f")
