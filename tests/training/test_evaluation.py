"""Evaluation and prediction: weighted means over the examples, metrics, predictions."""

from __future__ import annotations

import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers.classification import (
    BATCH,
    SIZE,
    WEIGHT,
    X,
    Y,
    crossentropy,
    log_softmax,
    net,
    trainer_of,
)
from helpers.trees import bits

import trainlib as tl
from trainlib.training.chunks import specs_of
from trainlib.training.functional_model import functional_from_keras
from trainlib.training.order import epoch_order

SOAK = pytest.mark.soak


@pytest.fixture(scope="module")
def evaluated():
    """A trainer that does not train, and the logits of its model."""
    model = net(dropout=0.5)
    return trainer_of(model), model.predict(X, verbose=0)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("size", [1, 7, 8, 9, SIZE])
def test_evaluation_is_the_weighted_mean_over_the_examples(evaluated, size, weighted):
    trainer, logits = evaluated
    data = (X, Y, WEIGHT) if weighted else (X, Y)
    results = trainer.evaluate(tuple(a[:size] for a in data), batch_size=8)
    w = WEIGHT[:size].astype("float64") if weighted else np.ones(size)
    losses = -log_softmax(logits[:size])[np.arange(size), Y[:size]]
    hits = np.argmax(logits[:size], axis=-1) == Y[:size]
    assert list(results) == ["loss", "accuracy"]
    assert results["loss"] == pytest.approx(np.sum(w * losses) / np.sum(w), rel=1e-6)
    assert results["accuracy"] == pytest.approx(np.sum(w * hits) / np.sum(w), rel=1e-6)


BY_NAME = ["accuracy", "f1_score", "auc", "confusion_matrix", "precision"]


@pytest.mark.parametrize(
    ("execution", "weighted"),
    [
        pytest.param("graph", False, marks=SOAK),
        ("graph", True),
        pytest.param("xla", True, marks=SOAK),
        pytest.param("xla", False, marks=SOAK),
    ],
)
def test_metrics_by_name_are_those_of_all_the_examples_at_once(execution, weighted):
    data = (X, Y, WEIGHT) if weighted else (X, Y)
    trainer = trainer_of(metrics=BY_NAME, execution=execution)
    results = trainer.evaluate(data, batch_size=8)
    probabilities = tf.nn.softmax(trainer.predict(X))
    assert list(results) == ["loss", *BY_NAME]
    for name in BY_NAME:
        metric = tl.metrics.as_metric(tl.registry.make_metric(name))
        expected = metric.compute(metric.from_model_output(Y, probabilities, *data[2:])).numpy()
        assert np.shape(results[name]) == ((3, 3) if name == "confusion_matrix" else ())
        np.testing.assert_allclose(results[name], expected, rtol=1e-12)
    assert json.loads(json.dumps(results)) == results
    assert np.sum(results["confusion_matrix"]) == pytest.approx(
        WEIGHT.sum() if weighted else SIZE, rel=1e-6
    )


@pytest.mark.parametrize("execution", ["graph", pytest.param("xla", marks=SOAK)])
def test_metrics_of_an_epoch_are_those_of_its_batches_merged(execution):
    metrics = {"area": "auc", "by class": tl.metrics.f1_score("none"), "hits": tl.metrics.accuracy}
    trainer = trainer_of(optimizer=tl.sgd(0.0), metrics=metrics, execution=execution)
    results = trainer.fit((X, Y, WEIGHT), batch_size=BATCH, validation_data=(X, Y))[0]
    by_name = metrics | {"area": tl.metrics.on_probabilities(tl.metrics.auc(), "softmax")}
    apply_fn = functional_from_keras(trainer.model).apply_fn
    step = tl.train_step(tl.StepConfig(apply_fn, crossentropy, tl.sgd(0.0), metrics=by_name))
    state, order, states = trainer_of(optimizer=tl.sgd(0.0)).state, epoch_order(0, 0, SIZE), None
    for rows in (order[i : i + BATCH] for i in range(0, SIZE, BATCH)):
        state, new = step(state, tuple(tf.constant(a[rows]) for a in (X, Y, WEIGHT)))
        states = new if states is None else tl.metrics.merge(states, new)
    for name, value in tl.metrics.results(by_name, states).items():
        np.testing.assert_allclose(results[name], value, rtol=1e-6)
    assert [type(results[name]) for name in metrics] == [float, list, float]
    assert {f"val_{name}" for name in metrics} <= set(results)


def test_only_metrics_other_than_means_need_the_shape_of_the_predictions():
    plain = trainer_of(metrics=["accuracy", tl.metrics.mean_squared_error])
    area = trainer_of(metrics=["accuracy", "auc"])
    for trainer, traces in ((plain, 0), (area, 1)):
        states = trainer.context.programs.empty_metric_states("graph", specs_of((X, Y)))
        assert trainer.traces == traces
        assert isinstance(states["accuracy"], tl.Mean)


def test_metrics_of_a_model_of_one_score():
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    metrics = {
        "precision": tl.metrics.on_probabilities(tl.metrics.precision([0.25, 0.5]), "sigmoid"),
        "matrix": "confusion_matrix",
        "r2": "r2_score",
    }
    trainer = tl.Trainer(model, "mean_squared_error", tl.sgd(), metrics=metrics)
    y = (Y > 0).astype("float32")
    results, logits = trainer.evaluate((X, y)), trainer.predict(X)[:, 0]
    for i, threshold in enumerate((0.25, 0.5)):
        predicted = 1 / (1 + np.exp(-logits)) > threshold
        assert results["precision"][i] == pytest.approx(y[predicted].mean(), rel=1e-6)
    assert np.sum(results["matrix"], axis=1).tolist() == [np.sum(y == 0), np.sum(y == 1)]
    residual = np.sum((y - logits.astype("float64")) ** 2)
    assert results["r2"] == pytest.approx(1 - residual / np.sum((y - y.mean()) ** 2), rel=1e-6)


def test_metrics_of_a_model_of_several_outputs_are_custom_functions():
    inputs = keras.Input((4,))
    outputs = {"a": keras.layers.Dense(3, name="a")(inputs), "b": keras.layers.Dense(1)(inputs)}
    model = keras.Model(inputs, outputs)

    def loss(y_true, y_pred):
        return crossentropy(y_true, y_pred["a"])

    def of_a(y_true, y_pred):
        return tl.metrics.accuracy(y_true, y_pred["a"])

    assert 0 <= tl.Trainer(model, loss, tl.sgd(), metrics=[of_a]).evaluate((X, Y))["of_a"] <= 1
    trainer = tl.Trainer(model, loss, tl.sgd(), metrics=[of_a, "auc"])
    with pytest.raises(ValueError, match="^metrics auc need a model of one output"):
        trainer.evaluate((X, Y))


@pytest.mark.parametrize("batch_size", [1, 7, 512])
def test_predictions_are_those_of_the_model(evaluated, batch_size):
    trainer, logits = evaluated
    y_pred = trainer.predict(X, batch_size=batch_size)
    assert isinstance(y_pred, np.ndarray)
    np.testing.assert_allclose(y_pred, logits, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("x", "error"), [(X[:0], ValueError), ([], ValueError), (None, TypeError), ("no", TypeError)]
)
def test_nothing_to_predict_is_refused(evaluated, x, error):
    with pytest.raises(error, match="^(x|a batch of x) must be arrays"):
        evaluated[0].predict(x)


def test_an_output_without_an_axis_of_examples_is_no_prediction():
    x = keras.Input((2,))
    model = keras.Model(x, {"a": keras.layers.Dense(1)(x), "mean": keras.ops.mean(x)})
    losses = {"a": "mean_squared_error", "mean": None}
    with pytest.raises(ValueError, match="^the model returns one number for a batch"):
        tl.Evaluator(model, losses).predict(np.zeros([3, 2], "float32"))


def test_neither_evaluation_nor_prediction_changes_the_state():
    trainer = trainer_of(net(dropout=0.5))
    before = bits(trainer.state)
    trainer.evaluate((X, Y))
    trainer.predict(X)
    assert bits(trainer.state) == before


def test_the_penalty_is_on_kernels_and_counts_in_every_loss():
    kernels = [w for w in net().get_weights() if w.ndim > 1]
    penalty = 0.5 * sum(np.sum(w.astype("float64") ** 2) for w in kernels)
    plain, penalized = (trainer_of(net(), regularizer=r) for r in (None, tl.l2(0.5)))
    bare = plain.evaluate((X, Y))["loss"]
    assert penalized.evaluate((X, Y))["loss"] == pytest.approx(bare + penalty, rel=1e-6)
    assert len(kernels) == 2
    trained = penalized.fit((X, Y), batch_size=SIZE)[0]["loss"]
    assert trained == pytest.approx(
        plain.fit((X, Y), batch_size=SIZE)[0]["loss"] + penalty, rel=1e-6
    )
