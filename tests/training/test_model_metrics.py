"""Metrics of models that end in logits, beside Keras on the probabilities."""

from __future__ import annotations

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

import trainlib as tl

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 4)).astype("float32")
BINARY = RNG.integers(0, 2, (40, 1)).astype("float32")
ONE_HOT = np.eye(3, dtype="float32")[RNG.integers(0, 3, 40)]


def model_of(outputs, activation=None):
    keras.utils.set_random_seed(0)
    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(outputs, activation)])


def evaluate(model, loss, metrics, y=BINARY, **options):
    return tl.Evaluator(model, loss, metrics=metrics, **options).evaluate((X, y))


@pytest.mark.parametrize("activation", ["sigmoid", None])
@pytest.mark.parametrize(
    "loss", ["binary_crossentropy", keras.losses.BinaryCrossentropy, tl.losses.binary_crossentropy]
)
def test_accuracy_of_one_probability_is_binary_as_in_keras(loss, activation):
    model = model_of(1, activation)
    given = loss(from_logits=activation is None) if isinstance(loss, type) else loss
    probabilities = model(X) if activation else tf.sigmoid(model(X))
    expected = np.mean((np.asarray(probabilities) > 0.5) == BINARY)
    assert evaluate(model, given, ["accuracy"])["accuracy"] == pytest.approx(expected)
    several = tl.Evaluator(model_of(3, "sigmoid"), "binary_crossentropy", metrics=["acc"])
    largest = np.argmax(several.predict(X), 1) == np.argmax(ONE_HOT, 1)
    assert several.evaluate((X, ONE_HOT))["acc"] == pytest.approx(largest.mean())
    with pytest.raises(ValueError, match="accuracy needs y_pred of shape"):
        evaluate(model_of(1), "mean_squared_error", ["accuracy"])


NAMES = ["binary_accuracy", "auc", "precision", "recall", "mean_squared_error"]
KERAS = [
    keras.metrics.BinaryAccuracy(),
    keras.metrics.AUC(),
    keras.metrics.Precision(),
    keras.metrics.Recall(),
    keras.metrics.MeanSquaredError(),
]


@pytest.fixture(scope="module")
def expected():
    """Keras's values on the probabilities, by name."""
    probabilities = tf.sigmoid(model_of(1)(X))
    values = {}
    for name, metric in zip(NAMES, KERAS, strict=True):
        metric.update_state(BINARY, probabilities)
        values[name] = pytest.approx(float(metric.result()), abs=1e-5)
    return values


@pytest.mark.parametrize(
    "loss",
    [
        pytest.param("binary_crossentropy", id="name"),
        pytest.param(
            functools.partial(tl.losses.binary_crossentropy, from_logits=True),
            id="options",
            marks=pytest.mark.soak,
        ),
        pytest.param(keras.losses.BinaryCrossentropy(from_logits=True), id="keras"),
    ],
)
def test_metrics_of_the_registry_are_given_probabilities_where_the_loss_takes_logits(
    loss, expected
):
    results = evaluate(model_of(1), loss, NAMES)
    results.pop("loss")
    assert results == expected


def test_a_trainer_gives_the_same_as_for_a_model_that_ends_in_probabilities(expected):
    for activation in (None, "sigmoid"):
        model = model_of(1, activation)
        trainer = tl.Trainer(model, "binary_crossentropy", tl.sgd(0.1), metrics=NAMES)
        results = trainer.evaluate((X, BINARY))
        assert {name: results[name] for name in NAMES} == expected


def test_functions_of_the_registry_and_names_in_a_mapping_are_given_probabilities(expected):
    metrics = {"a": tl.metrics.binary_accuracy, "b": "auc"}
    results = evaluate(model_of(1), "binary_crossentropy", metrics)
    assert (results["a"], results["b"]) == (expected["binary_accuracy"], expected["auc"])


def test_logits_of_classes_are_turned_into_those_of_a_softmax():
    given = ["binary_accuracy", "accuracy"]
    results = evaluate(model_of(3), "categorical_crossentropy", given, ONE_HOT)
    probabilities = tf.nn.softmax(model_of(3)(X))
    right = keras.metrics.binary_accuracy(ONE_HOT, probabilities)
    assert results["binary_accuracy"] == pytest.approx(np.mean(right), abs=1e-5)
    largest = np.argmax(probabilities, -1) == np.argmax(ONE_HOT, -1)
    assert results["accuracy"] == pytest.approx(np.mean(largest))


def test_a_function_that_says_it_ends_in_logits_is_one_for_the_metrics():
    model = tl.FunctionalModel(lambda p, s, x, training: tl.ModelOutput(x[:, :1], s), {})
    right = keras.metrics.binary_accuracy(BINARY, tf.sigmoid(X[:, :1]))
    results = evaluate(model, "binary_crossentropy", ["binary_accuracy"], from_logits=True)
    assert results["binary_accuracy"] == pytest.approx(np.mean(right))


def test_metrics_with_options_and_metrics_of_numbers_are_given_the_outputs():
    model = model_of(1)
    outputs = model(X)
    at_0 = {"a": functools.partial(tl.metrics.binary_accuracy, threshold=0.0)}
    right = np.mean(keras.metrics.binary_accuracy(BINARY, outputs, threshold=0.0))
    assert evaluate(model, "binary_crossentropy", at_0)["a"] == pytest.approx(right)
    wrapped = {"a": tl.metrics.on_probabilities(tl.metrics.binary_accuracy, "sigmoid")}
    assert evaluate(model, "binary_crossentropy", wrapped)["a"] == pytest.approx(right)
    right = np.mean(keras.losses.mean_absolute_error(BINARY, outputs))
    results = evaluate(model, "mean_squared_error", ["mean_absolute_error"])
    assert results["mean_absolute_error"] == pytest.approx(right, rel=1e-5)
