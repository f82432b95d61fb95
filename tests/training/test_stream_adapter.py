"""Batches from sources: the numbers of arrays, epochs of fixed length, errors."""

from __future__ import annotations

import gc
import itertools
import threading

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers.regression import BATCH, DATA, SIZE, X, Y, batches_of, train_on, trainer_of
from helpers.trees import assert_close

import trainlib as tl
from trainlib.training import chunks, stream_adapter
from trainlib.training.data_adapter import as_data_adapter
from trainlib.training.sources import EpochLength
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


@pytest.mark.parametrize(
    ("kind", "execution"),
    [*((k, "graph") for k in STREAMS), pytest.param("list", "xla", marks=pytest.mark.soak)],
)
def test_a_stream_trains_as_arrays_in_their_order(kind, execution, expected):
    params, losses = train_on(STREAMS[kind](), execution=execution)
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


def test_a_source_that_fills_one_array_again_and_again_is_read_batch_by_batch():
    def refilled():
        x, y = np.empty((4, 2), "float32"), np.empty((4, 1), "float32")
        for i in range(9):
            x[:], y[:] = i, -i
            yield x, y

    (chunk,) = StreamAdapter("data", refilled, max_wait=1e9).training()
    x, y = (a.numpy() for a in chunk.examples)
    assert x[: chunk.stop : 4, 0].tolist() == [*range(9)]
    assert y[: chunk.stop : 4, 0].tolist() == [-i for i in range(9)]


def test_a_stream_whose_source_keeps_waiting_can_be_left(monkeypatch):
    monkeypatch.setattr(chunks, "PATIENCE", 0.01)
    stopped = threading.Event()

    def waiting():
        yield from batches_of(size=4)[:2]
        stopped.wait()
        yield from ()

    coming = StreamAdapter("data", waiting, max_wait=0.0).training()
    next(coming)
    coming.close()  # it would wait for ever
    stopped.set()


def test_an_error_of_a_stream_reaches_the_caller():
    def failing():
        yield from batches_of()[:2]
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        trainer_of().fit(failing)


MALFORMED = [
    (3, TypeError, r"data must be arrays \(x, y\) or .* got 3"),
    ([], ValueError, "data has no batch: it is empty"),
    ([(X, Y), None], TypeError, r"a batch of data must be \(x, y\) or .* got NoneType"),
    ([X], TypeError, r"a batch of data must be \(x, y\) or .* got ndarray"),
    ([(X, Y[:3])], ValueError, r"a batch of data must be arrays of the same length, .*\[3, 37\]"),
    ([(X[:0], Y[:0])], ValueError, "a batch of data must be arrays of the same length, at least 1"),
    ([(X, Y.astype(str))], TypeError, "a batch of data must be arrays of numbers"),
]


@pytest.mark.parametrize(("data", "error", "message"), MALFORMED)
def test_malformed_streams_are_refused(data, error, message):
    with pytest.raises(error, match=f"^{message}"):
        trainer_of().fit(data)


def test_a_data_set_that_drops_its_only_batch_is_refused_before_training():
    few = tf.data.Dataset.from_tensor_slices((X, Y)).batch(64, drop_remainder=True)
    trainer = trainer_of()
    with pytest.raises(ValueError, match="^validation_data has no batch: .*drop_remainder"):
        trainer.fit((X, Y), validation_data=few)
    assert int(trainer.state.step) == 0


def test_an_iterator_lasts_one_epoch():
    with pytest.raises(ValueError, match="give a function that returns a new iterator"):
        trainer_of().fit(iter(batches_of()), epochs=2)


def test_the_number_of_batches_of_a_stream_is_known_where_it_has_a_length():
    dataset = STREAMS["dataset"]()
    three = EpochLength(3)
    assert as_data_adapter("data", dataset).batches() == 10
    assert as_data_adapter("data", dataset.repeat(), length=three).batches() == 3
    assert as_data_adapter("data", batches_of()).batches() == 10
    assert as_data_adapter("data", lambda: iter(batches_of())).batches() is None


LENGTHS = [5, 7, 7, 5, 6, 5, 5, 5]


def padded(lengths=LENGTHS, rows=4):
    """Return batches of token sequences, each padded to another length."""
    rng = np.random.default_rng(0)
    return [
        (rng.integers(0, 20, (rows, n)), rng.normal(size=(rows, 1)).astype("float32"))
        for n in lengths
    ]


def mean_of_embeddings():
    keras.utils.set_random_seed(0)
    layers = keras.layers.Embedding(20, 4), keras.layers.GlobalAveragePooling1D()
    return keras.Sequential([keras.Input((None,)), *layers, keras.layers.Dense(1)])


def test_batches_of_several_lengths_train_and_evaluate_as_in_keras():
    model, theirs = mean_of_embeddings(), mean_of_embeddings()
    theirs.compile(keras.optimizers.SGD(0.125), "mse")
    fitted = theirs.fit((b for b in padded()), steps_per_epoch=8, shuffle=False, verbose=0).history
    trainer = tl.Trainer(model, "mean_squared_error", tl.sgd(0.125), execution="graph")
    assert trainer.fit(padded())[0]["loss"] == pytest.approx(fitted["loss"][0], rel=1e-6)
    assert trainer.traces == 3  # of lengths 5, 6 and 7
    assert_close(model.get_weights(), theirs.get_weights(), 1e-6)
    loss = theirs.evaluate((b for b in padded()), steps=8, verbose=0)
    assert trainer.evaluate(padded()) == {"loss": pytest.approx(loss, rel=1e-6)}
    trainer.fit(padded(), epochs=2)
    assert trainer.traces == 6  # and the three of evaluation


def test_batches_of_too_many_sizes_are_refused(monkeypatch):
    monkeypatch.setattr(stream_adapter, "MAX_SIZES", 2)
    chunks = StreamAdapter("data", [(X[:n], Y[:n]) for n in (4, 5, 6)]).training()
    with pytest.raises(ValueError, match=r"^data have batches of more than 2 numbers of examples"):
        list(chunks)


def test_a_batch_between_others_of_other_shapes_is_not_padded():
    *_, last = StreamAdapter("data", padded([5, 7, 5])).training()
    assert last.examples[0].shape == [4, 5]
    *_, last = StreamAdapter("data", padded([5, 5, 5])).training()
    assert last.examples[0].shape == [4 * 64, 5]


def test_batches_may_gain_weights_or_another_dtype():
    x, y = np.ones([4, 2], "float32"), np.ones([4, 1], "float32")
    batches = [(x, y), (x, y, np.ones(4)), (x.astype("uint8"), y), (x, y)]
    chunks = list(StreamAdapter("data", batches).training())
    assert [len(chunk.examples) for chunk in chunks] == [2, 3, 2, 2]
    assert chunks[2].examples[0].dtype == tf.uint8


@pytest.mark.parametrize("fit", [True, False], ids=["fit", "validation"])
def test_a_source_that_ends_before_the_steps_asked_for_is_refused(fit):
    given = {"steps_per_epoch": 7} if fit else {"validation_steps": 7}
    with pytest.raises(ValueError, match=f"data ended after 3 of {next(iter(given))}=7 batches"):
        if fit:
            trainer_of().fit(iter(batches_of()[:3]), **given)
        else:
            trainer_of().fit(DATA, validation_data=batches_of()[:3], **given)


class Sized:
    """Batches with a wrong length, or one that raises."""

    def __init__(self, length):
        self.length = length

    def __iter__(self):
        return iter(batches_of()[:3])

    def __len__(self):
        if self.length is None:
            raise TypeError("unknown")
        return self.length


@pytest.mark.parametrize("length", [2, 5])
def test_a_wrong_length_is_warned_of_and_every_batch_counts(length):
    with pytest.warns(
        UserWarning, match=f"yielded 3 batches in an epoch, but its length is {length}"
    ):
        (results,) = trainer_of().fit(Sized(length))
    assert results["step"] == 3


def test_a_length_that_raises_is_unknown():
    assert StreamAdapter("data", Sized(None)).batches() is None
    assert trainer_of().fit(Sized(None))[0]["step"] == 3


def shuffled():
    return tf.data.Dataset.from_tensor_slices(DATA).shuffle(SIZE, seed=1).batch(BATCH)


def function_of_a_data_set():
    data = shuffled()
    return lambda: data


def function_that_shuffles():
    rng = np.random.default_rng(0)

    def epoch():
        order = rng.permutation(SIZE)
        return iter(batches_of([a[order] for a in DATA]))

    return epoch


@pytest.mark.parametrize("make", [shuffled, function_of_a_data_set, function_that_shuffles])
def test_a_resumed_run_continues_the_orders_of_a_shuffled_source(make, tmp_path):
    expected, losses = train_on(make(), epochs=3)
    stop = [tl.callbacks.SaveEvery(steps=1), tl.callbacks.StopAfter(14)]
    train_on(make(), epochs=3, callbacks=stop, checkpoints=tmp_path)
    checkpoints = tl.Checkpoints(tmp_path, resume=True)
    assert train_on(make(), epochs=3, checkpoints=checkpoints) == (expected, losses)
    assert losses[0] != losses[1]


@pytest.mark.parametrize(
    "settings", [{}, pytest.param({"steps_per_epoch": 3}, marks=pytest.mark.soak)]
)
def test_iterators_of_data_sets_do_not_outlive_training(settings):
    # tf.data's tuner of threads may let the end of an iterator wait for as long as it lived.
    kind = type(STREAMS["dataset"]().as_numpy_iterator())
    gc.collect()
    gc.disable()
    try:
        trainer = trainer_of()
        stream = STREAMS["dataset"]()
        trainer.fit(stream, epochs=2, validation_data=stream, **settings)
        trainer.evaluate(stream)
        alive = [each for each in gc.get_objects() if isinstance(each, kind)]
    finally:
        gc.enable()
    assert not alive
