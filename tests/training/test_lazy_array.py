"""Training on rows that are read when a batch needs them."""

from __future__ import annotations

import keras
import numpy as np

import trainlib as tl
from trainlib.training.lazy_array import LazyArray

X = np.random.default_rng(0).normal(size=(70, 3)).astype(np.float32)
Y = X.sum(axis=1)


class Rows(LazyArray):
    """Rows of X, which are counted as they are read."""

    def __init__(self, rows: np.ndarray) -> None:
        self.rows, self.count = rows, 0
        self.shape, self.dtype = (len(rows), 3), X.dtype

    def read(self, rows: np.ndarray) -> np.ndarray:
        self.count += len(rows)
        return X[self.rows[rows]]

    def select(self, rows: np.ndarray) -> Rows:
        return Rows(self.rows[rows])

    @property
    def fingerprint(self) -> bytes:
        return self.rows.tobytes()


def trained(x):
    """A trainer after two epochs on x."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    trainer = tl.Trainer(model, "mean_squared_error", tl.sgd(0.1), execution="graph")
    history = trainer.fit((x, Y), batch_size=16, epochs=2, validation_data=(x, Y), verbose=0)
    return trainer, [results["loss"] for results in history]


def test_rows_train_evaluate_and_predict_as_an_array_does():
    rows = Rows(np.arange(70))
    lazy, losses = trained(rows)
    plain, expected = trained(X)
    assert losses == expected
    assert rows.count >= 4 * 70
    assert lazy.evaluate((rows, Y)) == plain.evaluate((X, Y))
    np.testing.assert_array_equal(lazy.predict(rows), plain.predict(X))


def test_rows_are_selected_without_being_read():
    rows = Rows(np.arange(70))
    some = rows[10:40:10]
    assert (rows.count, some.count, some.shape, len(some), some.ndim) == (0, 0, (3, 3), 3, 2)
    np.testing.assert_array_equal(some, X[[10, 20, 30]])
    np.testing.assert_array_equal(rows[np.array([2, 2])], X[[2, 2]])
    np.testing.assert_array_equal(rows[-1], X[-1])
