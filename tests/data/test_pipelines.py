"""Pipelines of `tf.data` as data sets."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from trainlib.data import as_dataset, pipelines

X = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
Y = (np.arange(40) % 2).astype(np.int32)


def pipeline(*arrays, batch=None):
    made = tf.data.Dataset.from_tensor_slices(arrays)
    return made if batch is None else made.batch(batch)


@pytest.mark.parametrize("batch", [None, 7])
def test_a_pipeline_is_read_as_its_arrays(batch):
    dataset = as_dataset("mine:data", pipeline(X, Y, batch=batch))
    expected = as_dataset("mine:data", (X, Y))
    for part in ("train", "test"):
        np.testing.assert_array_equal(getattr(dataset, part).x, getattr(expected, part).x)
        np.testing.assert_array_equal(getattr(dataset, part).y, getattr(expected, part).y)
    assert dataset.notes[0].startswith("40 train examples read into memory once; what the pip")


@pytest.mark.parametrize(
    ("x", "y"),
    [
        (X[:, :1], X[:, 1:2]),
        ({"a": X[:, :1], "b": X[:, 1:2]}, Y[:, None]),
        ({"a": X[:, :1], "b": X[:, None]}, Y[:, None]),
    ],
)
def test_vectors_of_one_length_are_examples(x, y):
    read = as_dataset("mine:data", pipeline(x, y))
    expected = as_dataset("mine:data", (x, y))
    tf.nest.map_structure(np.testing.assert_array_equal, read.train.x, expected.train.x)
    np.testing.assert_array_equal(read.train.y, expected.train.y)


@pytest.mark.parametrize("shape", [[1], None])
def test_a_vector_of_unknown_length_is_an_example(shape):
    specs = (tf.TensorSpec([None]), tf.TensorSpec(shape, tf.int32))
    made = tf.data.Dataset.from_generator(
        lambda: zip(X, Y[:, None], strict=True), output_signature=specs
    )
    expected = as_dataset("mine:data", (X, Y))
    np.testing.assert_array_equal(as_dataset("mine:data", made).train.x, expected.train.x)


def test_parts_are_those_of_a_dict():
    made = {name: pipeline(X[:n], Y[:n], batch=4) for name, n in {"train": 20, "test": 6}.items()}
    dataset = as_dataset("mine:data", {**made, "validation": pipeline(X[:8], Y[:8])})
    assert (dataset.train.size, dataset.validation.size, dataset.test.size) == (20, 8, 6)
    without_test = as_dataset("mine:data", {k: x for k, x in made.items() if k == "train"})
    assert (without_test.train.size, without_test.test.size) == (16, 4)


def test_weights_belong_to_the_training_examples():
    weights = np.arange(1.0, 41)
    dataset = as_dataset("mine:data", pipeline(X, Y, weights, batch=8))
    places = [int(np.flatnonzero((X == x).all(1))[0]) for x in dataset.train.x]
    np.testing.assert_array_equal(dataset.weights, weights[places])
    with pytest.raises(ValueError, match="test: only the examples of train have weights"):
        as_dataset("mine:data", dict.fromkeys(("train", "test"), pipeline(X, Y, weights)))


def test_pipelines_of_another_form_are_refused(monkeypatch):
    for made, message in [
        (pipeline(X, Y).repeat(), "does not end; leave out repeat"),
        (pipeline(X), "elements must be .x, y. or"),
        (tf.data.Dataset.from_tensor_slices({"x": X}), "elements must be .x, y. or .*got dict"),
        (pipeline(X, Y).take(0), "has no examples"),
        (pipeline(X[:, 0], Y, batch=7), r"x has shape \(40,\); give one row for each example"),
        (pipeline({"a": X[:, 0]}, Y, batch=7), r"x_a has shape \(40,\); give one row"),
        ({"test": pipeline(X, Y)}, "the parts are test; give train"),
        ({"train": pipeline(X, Y), "tset": pipeline(X, Y)}, "the parts are train, tset"),
    ]:
        with pytest.raises(ValueError, match=message):
            as_dataset("mine:data", made)
    ragged = tf.data.Dataset.from_generator(
        lambda: ((np.zeros(k, np.float32), 0) for k in (1, 2)),
        output_signature=(tf.TensorSpec([None]), tf.TensorSpec([], tf.int32)),
    )
    with pytest.raises(ValueError, match="several shapes; resize or pad them"):
        as_dataset("mine:data", ragged)
    monkeypatch.setattr(pipelines, "MEMORY_BYTES", 100)
    with pytest.raises(
        ValueError, match="more than 100 bytes of memory; take fewer .*stream_pipeline"
    ):
        as_dataset("mine:data", pipeline(X, Y))
