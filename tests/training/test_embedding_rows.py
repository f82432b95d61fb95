"""Indices that an embedding has no row for."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import trainlib as tl
from trainlib.callbacks import NonFiniteError

ROWS = 10


def trainer_of(execution):
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Embedding(ROWS, 4), keras.layers.Flatten(), keras.layers.Dense(1)]
    model = keras.Sequential([keras.Input((3,), dtype="int32"), *layers])
    return tl.Trainer(model, "mean_squared_error", tl.sgd(0.1), execution=execution)


def words(last):
    """Return six examples of words 0, of which the last has another one."""
    x = np.zeros((6, 3), "int32")
    x[5, 2] = last
    return x, np.ones((6, 1), "float32")


@pytest.mark.parametrize("index", [ROWS, 1000, -ROWS - 1])
def test_arrays_with_an_index_without_row_are_refused_by_name(index):
    trainer = trainer_of("graph")
    message = f"^data hold the index {index}, but layer 'embedding.*' has rows for -10 to 9 only"
    with pytest.raises(ValueError, match=message):
        trainer.fit(words(index))
    with pytest.raises(ValueError, match=message.replace("data", "x")):
        trainer.predict(words(index)[0])


@pytest.mark.parametrize("index", [np.nan, np.inf, 9.5 + ROWS])
def test_inputs_that_are_no_indices_are_refused_by_name(index):
    x, y = words(0)
    x = x.astype("float32")
    x[3, 1] = index
    with pytest.raises(ValueError, match=f"^data hold the index {index}, but layer 'embedding"):
        trainer_of("graph").fit((x, y))


def test_a_layer_may_be_called_by_keyword():
    words_in = keras.Input((3,), dtype="int32")
    rows = keras.layers.Embedding(ROWS, 4)(inputs=words_in)
    model = keras.Model(words_in, keras.layers.Dense(1)(keras.layers.Flatten()(rows)))
    trainer = tl.Trainer(model, "mean_squared_error", tl.sgd(0.1), execution="graph")
    assert np.isfinite(trainer.fit(words(ROWS - 1))[0]["loss"])


def test_booleans_are_rows_0_and_1():
    trainer = trainer_of("graph")
    x = np.eye(6, 3, dtype=bool)
    assert np.array_equal(trainer.predict(x), trainer.predict(x.astype("int32")))


def test_xla_does_not_train_on_another_row_of_a_stream():
    """XLA itself takes row 9 for 12."""
    trainer = trainer_of("xla")
    with pytest.raises(NonFiniteError, match="the loss of epoch 1 is not finite"):
        trainer.fit([words(12)])
    assert np.isnan(trainer.evaluate([words(12)])["loss"])


@pytest.mark.parametrize("execution", ["graph", "xla"])
def test_all_rows_train_as_in_keras_counted_from_the_end_too(execution):
    trainer, model = trainer_of(execution), trainer_of("graph").model
    model.compile(keras.optimizers.SGD(0.1), "mean_squared_error")
    x, y = words(-ROWS)
    x[:, 0] = [0, 1, 8, 9, -1, -2]
    trainer.fit((x, y), batch_size=6, epochs=3, shuffle=False)
    model.fit(x, y, batch_size=6, epochs=3, shuffle=False, verbose=0)
    for ours, theirs in zip(trainer.model.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-7)
