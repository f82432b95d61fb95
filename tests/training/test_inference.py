"""Predictions: the structure of the outputs, from arrays and from sources of batches."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

import trainlib as tl

X = np.random.default_rng(0).normal(size=(10, 3)).astype("float32")


def two_outputs(join):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((3,))
    hidden = keras.layers.Dense(2, name="a")(inputs)
    return keras.Model(inputs, join(hidden, keras.layers.Dense(1, name="b")(inputs)))


OUTPUTS = {
    "dict": lambda a, b: {"a": a, "b": b},
    "list": lambda a, b: [a, b],
    "tuple": lambda a, b: (a, b),
    "nested": lambda a, b: {"both": (a, b), "first": a},
}


@pytest.mark.parametrize("kind", OUTPUTS)
def test_predictions_have_the_structure_of_the_outputs(kind):
    model = two_outputs(OUTPUTS[kind])
    right = model.predict(X, verbose=0)
    trainer = tl.Trainer(model, lambda y, p: tf.nest.flatten(p)[0][:, 0], tl.sgd())
    for got in (trainer.predict(X, 4), tl.Evaluator(model).predict(X)):
        tf.nest.assert_same_structure(got, right)
        assert type(got) is type(right)
        for one, other in zip(tf.nest.flatten(got), tf.nest.flatten(right), strict=True):
            np.testing.assert_allclose(one, other, atol=1e-6)


def slices():
    return [X[:4], X[4:8], X[8:]]


DATASET = tf.data.Dataset.from_tensor_slices
SOURCES = {
    "data set of x": lambda: DATASET(X).batch(4),
    "data set of (x,)": lambda: DATASET((X,)).batch(4),
    "data set of (x, y)": lambda: DATASET((X, X[:, :1])).batch(4),
    "data set of (x, y, weight)": lambda: DATASET((X, X[:, :1], X[:, 0])).batch(4),
    "data set of unknown length": lambda: DATASET(X).batch(4).filter(lambda x: True),
    "generator": lambda: (x for x in slices()),
    "generator of lists": lambda: ([x, x[:, :1]] for x in slices()),
    "function": lambda: lambda: iter(slices()),
    "list of tuples": lambda: [(x, x[:, :1]) for x in slices()],
    "iterator": lambda: iter(slices()),
}


@pytest.fixture(scope="module")
def line():
    """A model and its evaluator."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    return model, tl.Evaluator(model, "mean_squared_error", execution="graph")


@pytest.mark.parametrize("kind", SOURCES)
def test_sources_of_batches_are_predicted_as_their_arrays(kind, line):
    model, evaluator = line
    right = model.predict(X, verbose=0)
    np.testing.assert_allclose(evaluator.predict(SOURCES[kind]()), right, atol=1e-6)
    two = evaluator.predict(SOURCES[kind](), steps=2)
    np.testing.assert_allclose(two, right[:8], atol=1e-6)


def test_inputs_may_be_structures():
    inputs = {name: keras.Input((3,), name=name) for name in ("a", "b")}
    model = keras.Model(inputs, keras.layers.Add()([inputs["a"], inputs["b"]]))
    evaluator = tl.Evaluator(model)
    x = {"a": X, "b": 2 * X}
    sources = (
        x,
        DATASET(x).batch(4),
        DATASET((x, X)).batch(4),
        ({"a": a, "b": 2 * a} for a in X[:, None]),
    )
    for source in sources:
        np.testing.assert_allclose(evaluator.predict(source), 3 * X, rtol=1e-6)


def test_steps_take_the_first_batches(line):
    model, evaluator = line
    y = X[:, :2]
    model.compile("sgd", "mse")
    right = model.evaluate(X, y, batch_size=4, steps=2, verbose=0)
    got = evaluator.evaluate((X, y), batch_size=4, steps=2)["loss"]
    assert got == pytest.approx(right, rel=1e-6)
    assert evaluator.evaluate(DATASET((X, y)).batch(4), steps=2)["loss"] == pytest.approx(right)
    assert evaluator.predict(X, 4, steps=2).shape == (8, 2)


def test_fewer_batches_than_asked_for_are_refused(line):
    _, evaluator = line
    with pytest.raises(ValueError, match="^steps=4 is more than the 3 batches of x"):
        evaluator.predict(X, 4, steps=4)
    with pytest.raises(ValueError, match="^x ended after 3 of steps=4 batches"):
        evaluator.predict(DATASET(X).batch(4), steps=4)
    with pytest.raises(ValueError, match="^x ended after 3 of steps=4 batches"):
        evaluator.predict((x for x in slices()), steps=4)
    with pytest.raises(ValueError, match="^x are batches already: leave out batch_size=4"):
        evaluator.predict(DATASET(X).batch(4), 4)


def test_predictions_of_several_lengths_are_refused():
    model = keras.Sequential([keras.Input((None, 3)), keras.layers.Dense(2)])
    batches = (np.ones([4, n, 3], "float32") for n in (5, 7))
    with pytest.raises(ValueError, match=r"different shapes, \[5, 2\] and \[7, 2\]"):
        tl.Evaluator(model).predict(batches)
