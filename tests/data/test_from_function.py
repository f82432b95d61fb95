"""Data sets that functions of the user's make."""

from __future__ import annotations

import numpy as np
import pytest

from trainlib.data import as_dataset, load_dataset

X, Y = np.arange(40.0).reshape(20, 2), np.arange(20) % 3


@pytest.mark.parametrize(
    "made",
    [
        ((X, Y), (X[:5], Y[:5])),
        [[X, Y], [X[:5], Y[:5]]],
        {"x_train": X, "y_train": Y, "x_test": X[:5], "y_test": Y[:5]},
    ],
)
def test_parts_are_taken_as_they_are(made):
    dataset = as_dataset("mine:data", made)
    assert (dataset.name, dataset.classes) == ("mine:data", 3)
    np.testing.assert_array_equal(dataset.train.x, X)
    np.testing.assert_array_equal(dataset.test.y, Y[:5])


def test_arrays_are_split_as_those_of_a_file(tmp_path):
    np.savez(tmp_path / "own.npz", x=X, y=Y)
    of_file = load_dataset(tmp_path / "own.npz")
    made = as_dataset("mine:data", (X, Y))
    np.testing.assert_array_equal(made.test.x, of_file.test.x)
    assert as_dataset("mine:data", of_file) is of_file


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (None, "^dataset mine:data: must return .* got NoneType$"),
        ((X, Y, X), "^dataset mine:data: must return .* got tuple$"),
        ({"a": X}, "^dataset mine:data holds the arrays a; give x_train, "),
        ((X, Y[:3]), "dataset mine:data"),
    ],
)
def test_anything_else_is_refused(made, message):
    with pytest.raises(ValueError, match=message):
        as_dataset("mine:data", made)
