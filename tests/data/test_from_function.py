"""Data sets that functions of the user's make."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

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


def test_dicts_of_arrays_are_several_inputs_and_outputs() -> None:
    x, y = {"a": np.ones([10, 3]), "b": np.zeros([10, 2])}, {"main": np.arange(10.0)}
    for made in ((x, y), ((x, y), (x, y)), {"x_a": x["a"], "x_b": x["b"], "y_main": y["main"]}):
        dataset = as_dataset("mine:data", made)
        assert {name: a.shape[1:] for name, a in dataset.train.x.items()} == {"a": (3,), "b": (2,)}
        assert dataset.output_classes == {"main": 0}


def test_pipelines_of_dicts_are_several_inputs_and_outputs() -> None:
    x, y = {"b": np.ones([10, 3]), "a": np.zeros([10, 2])}, {"main": np.arange(10.0)}
    pipeline = tf.data.Dataset.from_tensor_slices((x, y, np.ones(10)))
    for made in (pipeline, pipeline.batch(4)):
        dataset = as_dataset("mine:data", made)
        assert {name: a.shape[1:] for name, a in dataset.train.x.items()} == {"b": (3,), "a": (2,)}
        assert dataset.train.size + dataset.test.size == 10 and dataset.weights is not None
        both = np.concatenate([dataset.train.y["main"], dataset.test.y["main"]])
        assert sorted(both) == list(range(10))
