"""Batches from arrays: the same bits on the host and on the device, in chunks of any size."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from helpers.regression import BATCH, DATA, SIZE, WEIGHT, X, Y, batches_of, train_on, trainer_of

from trainlib.training.array_adapter import ArrayAdapter
from trainlib.training.stream_adapter import StreamAdapter


@pytest.fixture(params=["memmap", "large"])
def on_host(request, tmp_path):
    """The data in arrays that stay on the host."""
    if request.param == "large":
        return ArrayAdapter("data", DATA, BATCH, placed_bytes=X.nbytes), X
    np.save(tmp_path / "x.npy", X)
    x = np.load(tmp_path / "x.npy", mmap_mode="r")
    return ArrayAdapter("data", (x, Y, WEIGHT), BATCH), x


def test_arrays_on_the_host_give_the_same_bits(on_host):
    adapter, x = on_host
    placed = ArrayAdapter("data", tuple(map(tf.constant, DATA)), BATCH)
    assert adapter.on_host and not placed.on_host
    assert train_on(adapter) == train_on(placed)
    trainer = trainer_of()
    assert trainer.evaluate(adapter) == trainer.evaluate(placed)
    np.testing.assert_array_equal(trainer.predict(x, 8), trainer.predict(X, 8))


@pytest.mark.parametrize("shuffle", [pytest.param(False, marks=pytest.mark.soak), True])
@pytest.mark.parametrize("size", [1, BATCH, 35, 36, SIZE])
def test_the_size_of_chunks_does_not_change_the_bits(size, shuffle):
    data = tuple(a[:size] for a in DATA)
    ends = []
    for chunk_bytes in (2**24, 1000, 1):
        arrays = ArrayAdapter("data", data, BATCH, chunk_bytes=chunk_bytes)
        ends.append(train_on(arrays, shuffle=shuffle))
        if not shuffle:
            stream = StreamAdapter("data", batches_of(data), chunk_bytes=chunk_bytes)
            ends.append(train_on(stream))
    assert all(end == ends[0] for end in ends[1:])


@pytest.mark.parametrize("chunk_bytes", [1, 1000, 2**24])
def test_chunks_have_one_shape_and_hold_each_example_once(chunk_bytes):
    adapter = ArrayAdapter("data", (np.arange(SIZE), Y), BATCH, chunk_bytes=chunk_bytes)
    order = np.random.default_rng(1).permutation(SIZE)
    *full, rest = adapter.training(order)
    assert {chunk.examples[0].shape[0] for chunk in full} == {len(full[0].examples[0])}
    taken = np.concatenate([chunk.examples[0][: chunk.stop] for chunk in (*full, rest)])
    np.testing.assert_array_equal(taken, order)
    assert (rest.rows, rest.stop) == (1, 1)
    assert [chunk.last for chunk in (*full, rest)] == [False] * len(full) + [True]
    seen = np.concatenate([chunk.examples[0][: chunk.stop] for chunk in adapter.evaluation()])
    np.testing.assert_array_equal(seen, np.arange(SIZE))
