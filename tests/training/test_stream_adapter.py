"""Batches from sources: the numbers of arrays, epochs of fixed length, errors."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import tensorflow as tf
from helpers.regression import BATCH, DATA, X, Y, batches_of, train_on, trainer_of

import trainlib as tl
from trainlib.training.data_adapter import as_data_adapter
from trainlib.training.stream_adapter import StreamAdapter


@pytest.fixture(scope="module")
def expected():
    """The results of arrays in their stored order."""
    return train_on(DATA, batch_size=BATCH, shuffle=False)


STREAMS = {
    "dataset": lambda: tf.data.Dataset.from_tensor_slices(DATA).batch(BATCH),
    "list": batches_of,
    "generator function": lambda: lambda: iter(batches_of()),
    "iterable of tensors": lambda: [tuple(map(tf.constant, batch)) for batch in batches_of()],
    "function that returns a dataset": lambda: STREAMS["dataset"],
}


@pytest.mark.parametrize(("kind", "execution"), [*((k, "graph") for k in STREAMS), ("list", "xla")])
def test_a_stream_trains_as_arrays_in_their_order(kind, execution, expected):
    params, losses = train_on(STREAMS[kind](), trainer=trainer_of(execution=execution))
    if execution == "graph":
        assert params == expected[0]
    np.testing.assert_allclose(losses, expected[1], rtol=1e-6)


def test_a_stream_is_evaluated_as_arrays():
    trainer = trainer_of()
    of_arrays = trainer.evaluate(DATA, batch_size=BATCH)
    for kind, stream in STREAMS.items():
        assert trainer.evaluate(stream()) == of_arrays, kind
    history = trainer.fit(DATA, validation_data=STREAMS["dataset"]())
    assert history[0]["val_loss"] == pytest.approx(trainer.evaluate(DATA)["loss"], rel=1e-6)


def test_batches_of_different_sizes_count_with_their_weight():
    cuts = [0, 4, 8, 9, 16, 23, 30, 37]
    uneven = [tuple(a[i:j] for a in DATA) for i, j in itertools.pairwise(cuts)]
    trainer = trainer_of(tl.sgd(0.0))
    loss = trainer.fit(uneven)[0]["loss"]
    assert loss == pytest.approx(trainer.evaluate(DATA)["loss"], rel=1e-6)
    assert trainer.traces == 3 + 1  # batches of 4, 1 and 7; evaluation
    trainer.fit(uneven)
    assert trainer.traces == 4


def test_the_last_batch_of_a_stream_ends_the_window_of_accumulation():
    def optimizer():
        return tl.accumulate(tl.sgd(0.125), 4)

    ends = [
        train_on(data, trainer=trainer_of(optimizer()), **options)
        for data, options in (
            (DATA, {"batch_size": BATCH, "shuffle": False}),
            (batches_of(), {}),
        )
    ]
    assert ends[0] == ends[1]
    assert ends[0] != train_on(batches_of()[:-2], trainer=trainer_of(optimizer()))


def test_an_epoch_of_fixed_length_continues_where_the_one_before_ended(expected):
    counted = []

    def endless():
        for batch in itertools.cycle(batches_of()):
            counted.append(1)
            yield batch

    params, losses = train_on(endless, epochs=4, steps_per_epoch=5)
    assert params == expected[0] and len(losses) == 4
    assert len(counted) == 20
    ended, _ = train_on(batches_of(), epochs=4, steps_per_epoch=5)
    assert ended == expected[0]


def test_a_chunk_does_not_wait_long_for_slow_batches():
    stream = StreamAdapter("data", batches_of(size=4)[:9], max_wait=0.0)
    assert [chunk.stop for chunk in stream.training()] == [4] * 9
    stream = StreamAdapter("data", batches_of(size=4)[:9], max_wait=1e9)
    assert [chunk.stop for chunk in stream.training()] == [36]


def test_an_error_of_a_stream_reaches_the_caller():
    def failing():
        yield from batches_of()[:2]
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        trainer_of().fit(failing)


MALFORMED = [
    (3, TypeError, r"data must be arrays \(x, y\) or .* got 3"),
    ([], ValueError, "data yielded no batch"),
    ([X, Y], TypeError, r"a batch of data must be \(x, y\) or .* got ndarray"),
    ([(X, Y[:3])], ValueError, r"a batch of data must be arrays of the same length, .*\[3, 37\]"),
    ([(X[:0], Y[:0])], ValueError, "a batch of data must be arrays of the same length, at least 1"),
    ([(X, Y.astype(str))], TypeError, "a batch of data must be arrays of numbers"),
]


@pytest.mark.parametrize(("data", "error", "message"), MALFORMED)
def test_malformed_streams_are_refused(data, error, message):
    with pytest.raises(error, match=f"^{message}"):
        trainer_of().fit(data)


def test_an_iterator_lasts_one_epoch():
    with pytest.raises(ValueError, match="give a function that returns a new iterator"):
        trainer_of().fit(iter(batches_of()), epochs=2)


def test_the_number_of_batches_of_a_stream_is_known_where_it_has_a_length():
    dataset = STREAMS["dataset"]()
    assert as_data_adapter("data", dataset).batches() == 10
    assert as_data_adapter("data", dataset.repeat()).batches() is None
    assert as_data_adapter("data", dataset.repeat(), steps=3).batches() == 3
    assert as_data_adapter("data", batches_of()).batches() == 10
    assert as_data_adapter("data", lambda: iter(batches_of())).batches() is None
