"""The limit on the number of shapes that programs are traced for."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers.trees import assert_close

import trainlib as tl
from trainlib.training.shapes import ShapeLimit

LENGTHS = [5, 7, 6, 8, 9, 5, 4]


def specs(length, dtype=tf.int32):
    return tf.TensorSpec([None, length], dtype), tf.TensorSpec([None, 1])


def test_axes_that_vary_are_left_open_after_some_shapes():
    limit = ShapeLimit(2)
    assert limit(specs(5)) == specs(5)
    assert limit(specs(7)) == specs(7)
    with pytest.warns(UserWarning, match="batches have had 3 shapes: one program takes all others"):
        assert limit(specs(6)) == specs(None)
    assert limit(specs(8)) == specs(None)
    assert limit(specs(7)) == specs(7)
    assert limit(specs(6, tf.int64)) == specs(6, tf.int64)


def mean_of_embeddings():
    keras.utils.set_random_seed(0)
    layers = keras.layers.Embedding(20, 4), keras.layers.GlobalAveragePooling1D()
    return keras.Sequential([keras.Input((None,)), *layers, keras.layers.Dense(1)])


@pytest.mark.parametrize("execution", ["graph", pytest.param("xla", marks=pytest.mark.soak)])
@pytest.mark.filterwarnings("ignore:batches have had")
def test_one_program_trains_on_batches_of_all_further_shapes(execution):
    rng = np.random.default_rng(0)
    batches = [
        (rng.integers(0, 20, (4, n)), rng.normal(size=(4, 1)).astype("float32")) for n in LENGTHS
    ]
    model, theirs = mean_of_embeddings(), mean_of_embeddings()
    theirs.compile(keras.optimizers.SGD(0.125), "mse")
    (right,) = theirs.fit(
        (b for b in batches), steps_per_epoch=7, shuffle=False, verbose=0
    ).history["loss"]
    trainer = tl.Trainer(model, "mean_squared_error", tl.sgd(0.125), execution=execution)
    trainer.context.programs.shape_limit = ShapeLimit(2)
    assert trainer.fit(batches)[0]["loss"] == pytest.approx(right, rel=1e-6)
    assert trainer.traces == (3 if execution == "graph" else 6)
    assert_close(model.get_weights(), theirs.get_weights(), 1e-6)
    loss = theirs.evaluate((b for b in batches), steps=7, verbose=0)
    assert trainer.evaluate(batches)["loss"] == pytest.approx(loss, rel=1e-6)
    predicted = theirs.predict(((x,) for x, _ in batches), steps=7, verbose=0)
    np.testing.assert_allclose(trainer.predict(batches), predicted, rtol=1e-5)


def test_batches_of_several_lengths_count_by_their_examples_as_in_keras():
    def steps():
        keras.utils.set_random_seed(0)
        return keras.Sequential([keras.Input((None, 2)), keras.layers.Dense(1)])

    rng = np.random.default_rng(0)
    lengths = [(4, 6), (2, 1)]
    batches = [(rng.normal(size=(r, n, 2)), rng.normal(size=(r, n, 1))) for r, n in lengths]
    model, theirs = steps(), steps()
    theirs.compile(keras.optimizers.SGD(0.125), "mse", metrics=["mae"])
    right = theirs.fit((b for b in batches), steps_per_epoch=2, shuffle=False, verbose=0).history
    trainer = tl.Trainer(model, "mse", tl.sgd(0.125), metrics=["mae"], execution="graph")
    (found,) = trainer.fit(batches)
    expected = theirs.evaluate((b for b in batches), steps=2, verbose=0)
    evaluated = trainer.evaluate(batches)
    for k, name in enumerate(("loss", "mae")):
        assert found[name] == pytest.approx(right[name][0], rel=1e-6)
        assert evaluated[name] == pytest.approx(expected[k], rel=1e-6)
