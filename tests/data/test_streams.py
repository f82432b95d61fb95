"""Pipelines whose training part is read in each epoch."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from trainlib.data import as_dataset, pipelines

X = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
Y = (np.arange(40) % 2).astype(np.int64)


def streamed(train=(X, Y), batch=None, **parts):
    made = {"train": train, "test": (X[:6], Y[:6]), **parts}
    made = {name: tf.data.Dataset.from_tensor_slices(arrays) for name, arrays in made.items()}
    if batch is not None:
        made["train"] = made["train"].batch(batch)
    return as_dataset("mine:data", made, stream=True)


@pytest.mark.parametrize(("batch", "rows"), [(None, 0), (16, 16), (7, 7)])
def test_batches_have_the_size_that_is_asked_for(batch, rows):
    dataset = streamed(batch=batch)
    assert dataset.stream.rows == rows
    batches = list(dataset.stream.batches(16).as_numpy_iterator())
    assert [len(x) for x, _ in batches] == [16, 16, 8]
    found = [dataset.stream.examples(one)[0] for one in batches]
    np.testing.assert_array_equal(np.concatenate([examples.x for examples in found]), X)
    assert found[0].y.dtype == np.int32


def test_the_first_examples_are_in_memory_and_the_other_parts_are_whole(monkeypatch):
    monkeypatch.setattr(pipelines, "SAMPLED", 10)
    dataset = streamed(batch=4, validation=(X[:11], Y[:11]))
    np.testing.assert_array_equal(dataset.train.x, X[:12])  # whole batches of 4
    assert (dataset.validation.size, dataset.test.size, dataset.classes) == (11, 6, 2)
    assert "its first 12 examples are in memory" in dataset.notes[0]
    monkeypatch.setattr(pipelines, "SAMPLED_BYTES", 1)
    assert streamed(batch=4).train.size == 4


def test_weights_are_those_of_a_batch():
    dataset = streamed((X, Y, np.arange(1.0, 41)), batch=20)
    np.testing.assert_array_equal(dataset.weights, np.arange(1.0, 41))
    second = list(dataset.stream.batches(20).as_numpy_iterator())[1]
    np.testing.assert_array_equal(dataset.stream.examples(second)[1], np.arange(21.0, 41))
    x, y, weight = second
    with pytest.raises(ValueError, match="weights must be one number of at least 0"):
        dataset.stream.examples((x, y, -weight))


def test_a_batch_that_is_not_like_the_first_examples_is_refused(monkeypatch):
    monkeypatch.setattr(pipelines, "SAMPLED", 20)
    late = np.where(np.arange(40) < 30, Y, 5)
    stream = streamed((X, late), batch=20).stream
    _, last = stream.batches(20).as_numpy_iterator()
    with pytest.raises(ValueError, match="train has the class 5, but its first examples show"):
        stream.examples(last)
    with pytest.raises(ValueError, match="train, x has 3 values that are NaN or infinite"):
        stream.examples((np.full((1, 3), np.nan), np.zeros(1, int)))


def test_what_cannot_be_streamed_is_refused():
    pipeline = tf.data.Dataset.from_tensor_slices((X, Y))
    for made, message in [
        ((X, Y), "stream_pipeline is for a function that returns tf.data.Datasets, .* tuple"),
        (pipeline, "a streamed pipeline is not split: return a dict"),
        (
            {"train": pipeline, "test": pipeline.repeat()},
            "test: the pipeline does not end; leave out",
        ),
    ]:
        with pytest.raises(ValueError, match=message):
            as_dataset("mine:data", made, stream=True)
