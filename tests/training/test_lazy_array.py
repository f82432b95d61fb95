"""Training on rows that are read when a batch needs them."""

from __future__ import annotations

import keras
import numpy as np
from helpers.lazy_rows import LazyRows

import trainlib as tl

X = np.random.default_rng(0).normal(size=(70, 3)).astype(np.float32)
Y = X.sum(axis=1)


def trained(x):
    """A trainer after two epochs on x."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    trainer = tl.Trainer(model, "mean_squared_error", tl.sgd(0.1), execution="graph")
    history = trainer.fit((x, Y), batch_size=16, epochs=2, validation_data=(x, Y), verbose=0)
    return trainer, [results["loss"] for results in history]


def test_rows_train_evaluate_and_predict_as_an_array_does():
    rows = LazyRows(X)
    lazy, losses = trained(rows)
    plain, expected = trained(X)
    assert losses == expected
    assert len(rows.read_ids) >= 4 * 70
    assert lazy.evaluate((rows, Y)) == plain.evaluate((X, Y))
    np.testing.assert_array_equal(lazy.predict(rows), plain.predict(X))


def test_rows_are_selected_without_being_read():
    rows = LazyRows(X)
    some = rows[10:40:10]
    assert rows.read_ids == some.read_ids == []
    assert (some.shape, len(some), some.ndim) == ((3, 3), 3, 2)
    np.testing.assert_array_equal(some, X[[10, 20, 30]])
    np.testing.assert_array_equal(rows[np.array([2, 2])], X[[2, 2]])
    np.testing.assert_array_equal(rows[-1], X[-1])
