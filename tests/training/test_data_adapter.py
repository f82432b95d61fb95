"""Data adapters: the same numbers from arrays, files and streams; prefetching; errors."""

from __future__ import annotations

import itertools
import threading

import keras
import numpy as np
import pytest
import tensorflow as tf

import trainlib as tl
from trainlib.training.array_adapter import ArrayAdapter
from trainlib.training.chunks import prefetch, specs_of
from trainlib.training.data_adapter import as_data_adapter
from trainlib.training.stream_adapter import StreamAdapter

SIZE, BATCH = 37, 4
RNG = np.random.default_rng(0)
X = RNG.normal(size=(SIZE, 6)).astype("float32")
Y = RNG.normal(size=(SIZE, 1)).astype("float32")
WEIGHT = RNG.uniform(0.5, 2, SIZE).astype("float32")
DATA = (X, Y, WEIGHT)


def batches_of(data=DATA, size=BATCH):
    return [tuple(a[i : i + size] for a in data) for i in range(0, len(data[0]), size)]


def trainer_of(optimizer=None, execution="graph"):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(5), keras.layers.Dense(1)])
    return tl.Trainer(model, "mean_squared_error", optimizer or tl.adam(0.125), execution=execution)


def end_of(data, epochs=2, trainer=None, **options):
    """The parameters and the losses after some epochs."""
    trainer = trainer or trainer_of()
    history = trainer.fit(data, epochs=epochs, **options)
    params = [w.numpy().tobytes() for w in trainer.state.params.values()]
    return params, [results["loss"] for results in history]


@pytest.fixture(scope="module")
def expected():
    """What arrays give in their order."""
    return end_of(DATA, batch_size=BATCH, shuffle=False)


STREAMS = {
    "dataset": lambda: tf.data.Dataset.from_tensor_slices(DATA).batch(BATCH),
    "list": batches_of,
    "generator function": lambda: lambda: iter(batches_of()),
    "iterable of tensors": lambda: [tuple(map(tf.constant, batch)) for batch in batches_of()],
    "function that returns a dataset": lambda: STREAMS["dataset"],
}


@pytest.mark.parametrize(("kind", "execution"), [*((k, "graph") for k in STREAMS), ("list", "xla")])
def test_a_stream_trains_as_arrays_in_their_order(kind, execution, expected):
    params, losses = end_of(STREAMS[kind](), trainer=trainer_of(execution=execution))
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
        end_of(data, trainer=trainer_of(optimizer()), **options)
        for data, options in (
            (DATA, {"batch_size": BATCH, "shuffle": False}),
            (batches_of(), {}),
        )
    ]
    assert ends[0] == ends[1]
    assert ends[0] != end_of(batches_of()[:-2], trainer=trainer_of(optimizer()))


def test_an_epoch_of_fixed_length_continues_where_the_one_before_ended(expected):
    counted = []

    def endless():
        for batch in itertools.cycle(batches_of()):
            counted.append(1)
            yield batch

    params, losses = end_of(endless, epochs=4, steps_per_epoch=5)
    assert params == expected[0] and len(losses) == 4
    assert len(counted) == 20
    ended, _ = end_of(batches_of(), epochs=4, steps_per_epoch=5)
    assert ended == expected[0]


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
    assert end_of(adapter) == end_of(placed)
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
        ends.append(end_of(arrays, shuffle=shuffle))
        if not shuffle:
            stream = StreamAdapter("data", batches_of(data), chunk_bytes=chunk_bytes)
            ends.append(end_of(stream))
    assert all(end == ends[0] for end in ends[1:])


@pytest.mark.parametrize("chunk_bytes", [1, 1000, 2**24])
def test_chunks_have_one_shape_and_hold_each_example_once(chunk_bytes):
    adapter = ArrayAdapter("data", (np.arange(SIZE), Y), BATCH, chunk_bytes=chunk_bytes)
    order = RNG.permutation(SIZE)
    *full, rest = adapter.training(order)
    assert {chunk.examples[0].shape[0] for chunk in full} == {len(full[0].examples[0])}
    taken = np.concatenate([chunk.examples[0][: chunk.stop] for chunk in (*full, rest)])
    np.testing.assert_array_equal(taken, order)
    assert (rest.rows, rest.stop) == (1, 1)
    assert [chunk.last for chunk in (*full, rest)] == [False] * len(full) + [True]
    seen = np.concatenate([chunk.examples[0][: chunk.stop] for chunk in adapter.evaluation()])
    np.testing.assert_array_equal(seen, np.arange(SIZE))


def test_dtypes_are_kept():
    greys = np.zeros((8, 2), "uint8")
    assert ArrayAdapter("data", (greys, Y[:8]), 2).specs[0].dtype == tf.uint8
    chunk = next(StreamAdapter("data", [(greys, Y[:8])]).training())
    assert chunk.examples[0].dtype == tf.uint8
    assert specs_of(chunk.examples) == specs_of((greys, Y[:8]))


def test_the_next_chunk_is_made_while_one_is_in_use():
    begun = threading.Event()

    def chunks():
        yield "first"
        begun.set()
        yield "second"

    coming = prefetch(chunks())
    assert next(coming) == "first"
    assert begun.wait(5)
    assert list(coming) == ["second"]


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
    ([(X, Y[:3])], ValueError, r"a batch of data must be arrays of one length .*\[3, 37\]"),
    ([(X[:0], Y[:0])], ValueError, "a batch of data must be arrays of one length above 0"),
    ([(X, Y.astype(str))], TypeError, "a batch of data must be arrays of numbers"),
]


@pytest.mark.parametrize(("data", "error", "message"), MALFORMED)
def test_malformed_streams_are_refused(data, error, message):
    with pytest.raises(error, match=f"^{message}"):
        trainer_of().fit(data)


def test_an_iterator_serves_one_epoch():
    with pytest.raises(ValueError, match="give a function that returns a new iterator"):
        trainer_of().fit(iter(batches_of()), epochs=2)


@pytest.mark.parametrize("steps", [0, 2.5])
def test_arguments_that_do_not_apply_to_the_data_are_refused(steps):
    with pytest.raises(ValueError, match="^data are batches already: leave out batch_size=4"):
        trainer_of().fit(batches_of(), batch_size=4)
    with pytest.raises(ValueError, match="^steps_per_epoch is for sources of batches"):
        trainer_of().fit(DATA, steps_per_epoch=3)
    with pytest.raises((ValueError, TypeError), match="^steps_per_epoch must be"):
        trainer_of().fit(batches_of(), steps_per_epoch=steps)


def test_the_number_of_batches_of_a_stream_is_known_where_it_has_a_length():
    dataset = STREAMS["dataset"]()
    assert as_data_adapter("data", dataset).batches() == 10
    assert as_data_adapter("data", dataset.repeat()).batches() is None
    assert as_data_adapter("data", dataset.repeat(), steps=3).batches() == 3
    assert as_data_adapter("data", batches_of()).batches() == 10
    assert as_data_adapter("data", lambda: iter(batches_of())).batches() is None
