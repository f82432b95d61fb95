"""Sources of batches: read by index, endless, or notified of epochs."""

from __future__ import annotations

import itertools
import time

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers.regression import BATCH, DATA, X, batches_of, train_on, trainer_of

from trainlib.training.sources import EpochLength, Source

WHOLE = EpochLength()


class Batches(keras.utils.PyDataset):
    """The batches of the regression problem, which notes when epochs begin and end."""

    def __init__(self, count=10, **options):
        super().__init__(**options)
        self.count, self.calls = count, []

    @property
    def num_batches(self):
        return self.count

    def __getitem__(self, index):
        time.sleep(0.01 * (index % 2))
        self.calls.append(index)
        return batches_of()[index % 10]

    def on_epoch_begin(self):
        self.calls.append("begin")

    def on_epoch_end(self):
        self.calls.append("end")


class OldSequence:
    """A sequence of batches as Keras 2 had it: `__iter__` never ends."""

    def __len__(self):
        return 10

    def __getitem__(self, index):
        return batches_of()[index]

    def __iter__(self):
        return self

    def __next__(self):
        return batches_of()[0]

    def on_epoch_end(self):
        pass


class Indexed:
    """An object that is read by index only, and has no end."""

    def __len__(self):
        return 10

    def __getitem__(self, index):
        return batches_of()[index % 10]


@pytest.fixture(scope="module")
def trainer():
    """A trainer that is not trained."""
    return trainer_of()


@pytest.mark.parametrize("make", [Batches, OldSequence, Indexed])
def test_sequences_of_batches_are_read_by_index(make, trainer):
    assert trainer.evaluate(make()) == trainer.evaluate(DATA, batch_size=BATCH)


def test_workers_read_ahead_and_keep_the_order():
    source = Source("data", Batches(workers=3, max_queue_size=4), WHOLE)
    for read, batch in zip(source.open(), batches_of(), strict=True):
        np.testing.assert_array_equal(read[0], batch[0])


def test_a_dataset_is_told_of_each_epoch():
    data = Batches(2)
    trainer_of().fit(data, epochs=2)
    assert data.calls == ["begin", 0, 1, "end"] * 2
    data = Batches(None)
    trainer_of().fit(data, epochs=2, steps_per_epoch=2)
    assert [call for call in data.calls if isinstance(call, str)] == ["begin", "end"] * 2
    assert [call for call in data.calls if not isinstance(call, str)] == [0, 1, 2, 3]


ENDLESS = {
    "data set": lambda: tf.data.Dataset.from_tensors(batches_of()[0]).repeat(),
    "PyDataset": lambda: Batches(None),
    "cycle": lambda: itertools.cycle(batches_of()),
    "repeat": lambda: itertools.repeat(batches_of()[0]),
    "function": lambda: lambda: itertools.cycle(batches_of()),
}


@pytest.mark.parametrize("kind", ENDLESS)
def test_a_source_that_never_ends_is_refused_without_a_number_of_steps(kind, trainer):
    with pytest.raises(ValueError, match="^data never ends: pass steps_per_epoch"):
        trainer.fit(ENDLESS[kind]())
    with pytest.raises(ValueError, match="^data never ends: pass steps,"):
        trainer.evaluate(ENDLESS[kind]())
    with pytest.raises(ValueError, match="^x never ends: pass steps,"):
        trainer.predict(ENDLESS[kind]())
    if kind != "function":
        with pytest.raises(ValueError, match="^validation_data never ends: pass validation_steps"):
            trainer.fit(DATA, validation_data=ENDLESS[kind]())
        assert int(trainer.state.step) == 0


@pytest.mark.parametrize("kind", ENDLESS)
def test_a_source_that_never_ends_is_taken_with_a_number_of_steps(kind, trainer):
    again = kind in ("data set", "repeat")
    taken = [batches_of()[0]] * 2 if again else batches_of()[:2]
    assert trainer.evaluate(ENDLESS[kind](), steps=2) == trainer.evaluate(taken)
    predicted = trainer.predict(ENDLESS[kind](), steps=2)
    np.testing.assert_array_equal(predicted, trainer.predict(taken))


def test_an_epoch_of_a_source_that_never_ends_has_the_steps_asked_for():
    validation = {"validation_data": ENDLESS["data set"](), "validation_steps": 2}
    history = trainer_of().fit(ENDLESS["PyDataset"](), epochs=2, steps_per_epoch=3, **validation)
    assert [results["step"] for results in history] == [3, 6]
    assert all("val_loss" in results for results in history)


def test_a_repetition_that_ends_is_taken(trainer):
    first = batches_of()[0]
    assert trainer.evaluate(itertools.repeat(first, 3)) == trainer.evaluate([first] * 3)


@pytest.mark.parametrize(
    ("convert", "how"),
    [
        (tf.RaggedTensor.from_tensor, r"RaggedTensor: convert it by x.to_tensor\(\)"),
        (tf.sparse.from_dense, r"SparseTensor: convert it by tf.sparse.to_dense\(x\)"),
    ],
)
def test_ragged_and_sparse_tensors_are_refused(convert, how):
    dataset = tf.data.Dataset.from_tensor_slices(DATA[:2]).batch(4)
    with pytest.raises(TypeError, match=f"^data must be arrays of numbers, got a {how}"):
        trainer_of().fit(dataset.map(lambda x, y: (convert(x), y)))
    with pytest.raises(TypeError, match=f"^data must be arrays of numbers, got a {how}"):
        trainer_of().fit((convert(X), DATA[1]))


def test_loaders_of_pytorch_train_as_their_batches():
    torch = pytest.importorskip("torch")
    data = torch.utils.data
    dataset = data.TensorDataset(*map(torch.tensor, DATA))
    expected = train_on(DATA, batch_size=BATCH, shuffle=False)[0]
    assert train_on(data.DataLoader(dataset, batch_size=BATCH))[0] == expected
    assert train_on(tuple(map(torch.tensor, DATA)), batch_size=BATCH, shuffle=False)[0] == expected
    trainer = trainer_of()
    predicted = trainer.predict(data.DataLoader(dataset, batch_size=BATCH))
    np.testing.assert_array_equal(predicted, trainer.predict(X, BATCH))
    with pytest.raises(TypeError, match="^data is a torch Dataset of examples: pass a DataLoader"):
        trainer.fit(dataset)
