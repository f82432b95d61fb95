"""Augmentation in training: what an example becomes follows from seed, epoch and example alone."""

from __future__ import annotations

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers.executions import soak_except

import trainlib as tl
from trainlib.augmentation import Augmentation, uniform
from trainlib.callbacks import Callback, Save, Stop
from trainlib.training.array_adapter import ArrayAdapter
from trainlib.training.augmentation import Augmenter, as_augmentation
from trainlib.training.order import epoch_order
from trainlib.training.replay import find_step
from trainlib.training.stream_adapter import StreamAdapter

SIZE = 45
RNG = np.random.default_rng(0)
X = RNG.integers(0, 200, (SIZE, 3)).astype("float32")
Y = np.arange(SIZE) % 3


def jitter(x, y, key):
    return x + uniform(key, 3), y


def half_of_each(x, other, key):
    share = uniform(key, 1)
    return share * x + (1 - share) * other, share[:, 0]


NUMBERS = itertools.count(step=50)
"""In the place of random numbers of NumPy, which a traced function draws once."""
JITTER = Augmentation(jitter, "jitter")
MIXED = Augmentation(jitter, "mixed", half_of_each)


def by_id(augmentation, data, seed=0, epoch=0, skip=0, shuffle=True, rows=np.arange):
    """The augmented examples in use, flat, by id."""
    if isinstance(data, ArrayAdapter):
        order = epoch_order(seed, epoch, data.size) if shuffle else None
        chunks = data.training(order, skip)
    else:
        chunks = data.training(skip)
    found = {}
    for chunk in Augmenter(augmentation, rows)(chunks, data, seed, epoch):
        leaves = [np.asarray(a) for a in tf.nest.flatten(chunk.examples)]
        for row in range(chunk.start, chunk.stop):
            found[int(chunk.ids[row])] = [a[row].tolist() for a in leaves]
    return found


def arrays(batch_size, chunk_bytes=200):
    return ArrayAdapter("data", (X, Y), batch_size, chunk_bytes=chunk_bytes)


@pytest.mark.parametrize("augmentation", [pytest.param(JITTER, marks=pytest.mark.soak), MIXED])
def test_an_example_is_the_same_whatever_the_batches_and_their_order(augmentation):
    expected = by_id(augmentation, arrays(5))
    assert sorted(expected) == list(range(SIZE))
    assert by_id(augmentation, arrays(8)) == expected
    assert by_id(augmentation, arrays(8, 10**6), shuffle=False) == expected
    resumed = by_id(augmentation, arrays(8), skip=3)
    assert len(resumed) == SIZE - 24 and resumed == {i: expected[i] for i in resumed}


def test_seed_and_epoch_change_what_an_example_becomes():
    first = by_id(JITTER, arrays(5))
    for other in (by_id(JITTER, arrays(5), seed=1), by_id(JITTER, arrays(5), epoch=1)):
        assert all(first[i] != other[i] for i in range(SIZE))


@pytest.mark.parametrize("augmentation", [JITTER, MIXED])
def test_each_worker_augments_its_part_of_a_batch_as_one_process_does(augmentation):
    expected, seen = by_id(augmentation, arrays(7)), []

    def counted(x, y, key):
        tf.py_function(lambda n: seen.append(int(n)), [tf.shape(x)[0]], [])
        return augmentation.function(x, y, key)

    rows = {7: [0, 1, 5], 3: [0, 1, 2]}  # of batches, and of the last one
    found = by_id(augmentation._replace(function=counted), arrays(7), rows=lambda n: rows[n])
    order = epoch_order(0, 0, SIZE)
    mine = [i for place, i in enumerate(order) if place >= 42 or place % 7 in rows[7]]
    assert len(mine) == 21 and {i: found[i] for i in mine} == {i: expected[i] for i in mine}
    assert sum(seen) < SIZE * (2 if augmentation.mix else 1)


def test_a_stream_counts_the_examples_of_an_epoch():
    batches = [(X[i : i + 4], Y[i : i + 4]) for i in range(0, SIZE, 4)]
    streamed = by_id(JITTER, StreamAdapter("data", batches))
    assert streamed == by_id(JITTER, arrays(5), shuffle=False)
    resumed = by_id(JITTER, StreamAdapter("data", batches), skip=5)
    assert resumed == {i: streamed[i] for i in range(20, SIZE)}


def test_an_example_of_a_stream_is_mixed_with_one_of_its_batch():
    first = np.arange(12.0).repeat(4)[:, None].astype("float32")
    batches = [(first[i : i + 4], Y[i : i + 4]) for i in range(0, 44, 4)]
    only_mixed = Augmentation(lambda x, y, key: (x, y), "only mixed", half_of_each)
    mixed = by_id(only_mixed, StreamAdapter("data", batches))
    assert all(x == pytest.approx(first[i]) for i, (x, *_) in mixed.items())


def test_mixing_takes_the_augmented_partner_its_target_and_its_weight():
    weight = np.linspace(0, 2, SIZE).astype("float32")
    data = ArrayAdapter("data", (X, np.arange(SIZE), weight), 5)
    alone = by_id(JITTER, data)
    mixed = by_id(MIXED, data)
    assert len({second for _, _, second, _, _ in mixed.values()}) > SIZE / 2
    for i, (x, first, second, share, w) in mixed.items():
        assert first == i and 0 <= share <= 1
        (a, b) = np.array(alone[i][0]), np.array(alone[second][0])
        s = np.dot(np.array(x) - b, a - b) / max(np.dot(a - b, a - b), 1e-9) if second != i else 0.5
        assert x == pytest.approx(s * a + (1 - s) * b, abs=1e-2)
        parts = s * weight[first], (1 - s) * weight[second]
        assert w == pytest.approx(sum(parts), abs=1e-2)
        assert share * w == pytest.approx(parts[0], abs=1e-2)


def line(params, model_state, x, training):
    return tl.ModelOutput(x @ params["w"], model_state)


def new_trainer(augment=None, **options):
    model = tl.FunctionalModel(line, {"w": tf.fill([3, 3], 0.01)})
    options = {"execution": "graph", "from_logits": True, "augment": augment} | options
    return tl.Trainer(model, "sparse_categorical_crossentropy", tl.sgd(1e-5), **options)


def test_training_is_that_of_the_augmented_examples():
    augmented = by_id(JITTER, arrays(5), seed=4)
    x = np.array([augmented[i][0] for i in range(SIZE)], "float32")
    trainer, plain = new_trainer(jitter, seed=4), new_trainer(seed=4)
    results = trainer.fit((X, Y), batch_size=5, epochs=1)
    expected = plain.fit((x, Y), batch_size=5, epochs=1)
    assert results[0]["loss"] == expected[0]["loss"]
    np.testing.assert_array_equal(trainer.state.params["w"], plain.state.params["w"])
    evaluated = trainer.evaluate((X, Y)), plain.evaluate((X, Y))
    assert evaluated[0] == evaluated[1]
    np.testing.assert_array_equal(trainer.predict(X), plain.predict(X))


def test_a_step_that_is_replayed_has_the_augmented_examples():
    trainer = new_trainer(JITTER)
    config = trainer.fit_config((X, Y), batch_size=5, verbose=0)
    order = epoch_order(0, 0, SIZE)[5:10]
    x = find_step(trainer.context, config, 2).batch[0]
    augmented = by_id(JITTER, arrays(5))
    np.testing.assert_array_equal(x, np.array([augmented[i][0] for i in order], "float32"))


class StopAt(Callback):
    every = 1

    def __init__(self, batch):
        self.batch = batch

    def on_train_batch_end(self, status):
        if status.global_batch == self.batch:
            return [Save(), Stop("enough", resumable=True)]


@pytest.mark.parametrize("source", soak_except("arrays", names=["arrays", "stream"]))
def test_a_run_resumed_within_an_epoch_ends_in_the_same_bits(source, tmp_path):
    data = X, Y
    options = {"batch_size": 4, "epochs": 2}
    if source == "stream":
        data = tf.data.Dataset.from_tensor_slices((X, Y)).batch(4)
        options = {"epochs": 2}
    unbroken = new_trainer(MIXED)
    history = unbroken.fit(data, **options)
    new_trainer(MIXED).fit(data, callbacks=[StopAt(15)], checkpoints=tmp_path, **options)
    resumed = new_trainer(MIXED)
    checkpoints = tl.Checkpoints(tmp_path, resume=True)
    found = resumed.fit(data, checkpoints=checkpoints, **options)
    assert [r["loss"] for r in found] == [r["loss"] for r in history]
    np.testing.assert_array_equal(resumed.state.params["w"], unbroken.state.params["w"])


def test_a_run_is_resumed_with_the_same_augmentation_only(tmp_path):
    options = {"batch_size": 4, "epochs": 2}
    new_trainer(JITTER).fit((X, Y), callbacks=[StopAt(3)], checkpoints=tmp_path, **options)
    with pytest.raises(ValueError, match="was made with augment jitter, not None"):
        new_trainer().fit((X, Y), checkpoints=tl.Checkpoints(tmp_path, resume=True), **options)


def test_the_loss_of_mixed_classes_is_that_of_soft_targets():
    data = ArrayAdapter("data", (X, Y), SIZE)
    mixed = by_id(MIXED, data)
    x, first, second, share = (np.array([mixed[i][k] for i in range(SIZE)]) for k in range(4))
    soft = share[:, None] * np.eye(3)[first] + (1 - share[:, None]) * np.eye(3)[second]
    w = RNG.normal(size=(3, 3)).astype("float32") / 99
    trainer = new_trainer(MIXED, metrics=["accuracy"])
    trainer.weights = {"w": w}, ()
    (results,) = trainer.fit((X, Y), batch_size=SIZE)
    expected = keras.losses.CategoricalCrossentropy(from_logits=True)(soft, x @ w)
    assert results["loss"] == pytest.approx(float(expected), rel=1e-5)
    larger = np.mean(np.argmax(x @ w, 1) == np.argmax(soft, 1))
    assert results["accuracy"] == pytest.approx(larger, abs=0.03)


def test_accumulated_batches_equal_one_batch():
    def after(optimizer, batch_size):
        model = tl.FunctionalModel(line, {"w": tf.fill([3, 1], 0.01)})
        options = {"execution": "graph", "augment": JITTER}
        trainer = tl.Trainer(model, "mean_squared_error", optimizer, **options)
        trainer.fit((X, Y.astype("float32")), batch_size=batch_size, shuffle=False)
        return trainer.state.params["w"].numpy()

    whole = after(tl.sgd(1e-6), 15)
    np.testing.assert_allclose(after(tl.accumulate(tl.sgd(1e-6), 3), 5), whole, rtol=1e-6)


def test_steps_compiled_by_xla_take_augmented_examples():
    losses = [
        new_trainer(JITTER, execution=execution).fit((X, Y), batch_size=15)[0]["loss"]
        for execution in ("graph", "xla")
    ]
    assert losses[1] == pytest.approx(losses[0], rel=1e-6)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (3, r"augment must be a function \(x, y, key\) -> \(x, y\), got 3"),
        (keras.layers.RandomFlip, r"got the class RandomFlip"),
        (keras.layers.RandomFlip(), r"got the Keras layer random_flip.*tl.augmentation.chain"),
    ],
)
def test_what_is_no_function_is_refused(value, message):
    with pytest.raises(TypeError, match=message):
        as_augmentation(value)


def test_a_function_that_drops_examples_is_refused():
    def half(x, y, key):
        return x[::2], y[::2]

    with pytest.raises(ValueError, match=r"half.* returned 40 examples of 80: return one"):
        new_trainer(half).fit((X, Y), batch_size=5)


@pytest.mark.parametrize(
    "function",
    [
        lambda x, y, key: (x + tf.random.stateless_uniform(tf.shape(x), [1, 2]), y[::-1]),
        lambda x, y, key: (x + tf.random.uniform(tf.shape(x), maxval=100.0), y),
        lambda x, y, key: (x - tf.reduce_mean(x), y),
        lambda x, y, key: (x + next(NUMBERS), y),
    ],
)
def test_a_function_of_more_than_the_row_and_its_key_is_refused(function):
    with pytest.raises(ValueError, match="compute it from its row and its key alone"):
        by_id(Augmentation(function, "name"), arrays(5))


def test_a_loss_of_the_whole_batch_takes_no_mixed_examples():
    model = tl.FunctionalModel(line, {"w": tf.zeros([3, 3])})
    trainer = tl.Trainer(model, lambda y, p: tf.reduce_mean(p), tl.sgd(1.0), augment=MIXED)
    with pytest.raises(ValueError, match="augment: examples cannot be mixed under a loss"):
        trainer.fit((X, Y), batch_size=5)


def test_each_fit_over_a_source_of_unknown_length_has_epochs_of_its_own():
    model = tl.FunctionalModel(line, {"w": tf.eye(3)})
    options = {"execution": "graph", "from_logits": True, "augment": JITTER}
    trainer = tl.Trainer(model, "sparse_categorical_crossentropy", tl.sgd(0.0), **options)
    histories = [trainer.fit(lambda: iter([(X, Y)]), epochs=2) for _ in range(2)]
    losses = {results["loss"] for history in histories for results in history}
    assert len(losses) == 4  # of four changes of the same examples
