"""`Evaluator`: the results and predictions of a `Trainer`, without an optimizer."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

import trainlib as tl

RNG = np.random.default_rng(0)
X = RNG.normal(size=(23, 4)).astype("float32")
Y = RNG.integers(0, 3, 23)
LOSS = "sparse_categorical_crossentropy"


def net():
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(8, activation="tanh", name="hidden"),
            keras.layers.BatchNormalization(name="norm"),
            keras.layers.Dropout(0.5, name="dropout"),
            keras.layers.Dense(3, activation="softmax", name="outputs"),
        ]
    )


SOAK = pytest.mark.soak
OPTIONS = [
    {"metrics": ["accuracy", "auc"], "regularizer": tl.l2(0.5)},
    {"precision": "float64"},
    *(pytest.param(x, marks=SOAK) for x in ({}, {"regularizer": tl.l2(0.5)}, {"execution": "xla"})),
]


@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: "-".join(options) or "plain")
def test_results_and_predictions_are_those_of_a_trainer(options):
    options = {"execution": "graph"} | options
    trainer = tl.Trainer(net(), LOSS, tl.adam(), strategy="one_device", **options)
    evaluator = tl.Evaluator(net(), LOSS, **options)
    assert evaluator.evaluate((X, Y), batch_size=8) == trainer.evaluate((X, Y), batch_size=8)
    np.testing.assert_array_equal(evaluator.predict(X, 8), trainer.predict(X, 8))


def test_batches_from_a_source_are_evaluated():
    evaluator = tl.Evaluator(net(), LOSS)
    dataset = tf.data.Dataset.from_tensor_slices((X, Y)).batch(8)
    assert evaluator.evaluate(dataset) == evaluator.evaluate((X, Y), batch_size=8)


class Counting(keras.layers.Layer):
    """Keeps the mean of the absolute inputs as a metric."""

    def __init__(self, metric=keras.metrics.Mean):
        super().__init__()
        self.size = metric(name="size")

    def call(self, x):
        self.size.update_state(keras.ops.abs(x))
        return x


def test_metrics_that_layers_keep_are_reset_and_reported_as_by_a_trainer_and_keras():
    def make():
        keras.utils.set_random_seed(0)
        return keras.Sequential([keras.Input((4,)), Counting(), keras.layers.Dense(1)])

    y = Y.astype("float32")[:, None]
    evaluator = tl.Evaluator(make(), "mean_squared_error")
    trainer = tl.Trainer(make(), "mean_squared_error", tl.sgd(0.1), strategy="one_device")
    theirs = make()
    theirs.compile(loss="mse")
    for part in (slice(None), slice(0, 8)):
        right = theirs.evaluate(X[part], y[part], batch_size=8, return_dict=True, verbose=0)
        results = evaluator.evaluate((X[part], y[part]), batch_size=8)
        assert results == trainer.evaluate((X[part], y[part]), batch_size=8)
        assert results["size"] == pytest.approx(np.mean(np.abs(X[part])), rel=1e-5)
        assert results == pytest.approx(right, rel=1e-5)


class MeanAndTwice(keras.metrics.Mean):
    """A metric of two named values."""

    def result(self):
        return {"once": super().result(), "twice": 2 * super().result()}


def test_a_metric_of_named_values_in_a_layer_is_reported_by_their_names():
    model = keras.Sequential([keras.Input((4,)), Counting(MeanAndTwice), keras.layers.Dense(1)])
    y = Y.astype("float32")[:, None]
    trainer = tl.Trainer(model, "mean_squared_error", tl.sgd(0.0), strategy="one_device")
    for results in (
        tl.Evaluator(model, "mean_squared_error").evaluate((X, y)),
        trainer.fit((X, y))[0],
    ):
        right = np.mean(np.abs(X))
        assert results["size_once"] == pytest.approx(right, rel=1e-5)
        assert results["size_twice"] == pytest.approx(2 * right, rel=1e-5)
    assert {"size_once", "val_size_twice"} <= set(trainer.context.result_names(True))


def test_values_assigned_to_the_model_are_taken_over():
    model = net()
    evaluator = tl.Evaluator(model)
    model.get_layer("outputs").set_weights([np.zeros((8, 3)), np.zeros(3)])
    np.testing.assert_allclose(evaluator.predict(X), 1 / 3, rtol=1e-6)


def test_without_a_loss_it_predicts_only():
    evaluator = tl.Evaluator(net())
    np.testing.assert_allclose(evaluator.predict(X), net().predict(X, verbose=0), atol=1e-6)
    with pytest.raises(ValueError, match=r"^evaluate needs a loss: tl.Evaluator\(model, loss\)"):
        evaluator.evaluate((X, Y))


@pytest.mark.parametrize("execution", ["graph", "xla_update"])
def test_the_execution_of_a_run_in_mixed_float16_is_taken(execution):
    """`Trainer` takes it for dense layers, whose models are then evaluated with it."""
    options = {"precision": "mixed_float16", "execution": execution}
    layers = [keras.Input((4,)), keras.layers.Dense(3, "tanh", name="outputs")]
    model = keras.Sequential(layers)
    tl.Trainer(model, "mse", tl.adam(), strategy="one_device", **options)
    predicted = tl.Evaluator(model, **options).predict(X)
    np.testing.assert_allclose(predicted, model.predict(X, verbose=0), atol=2e-3)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("mlp",), TypeError, "model must be a Keras model or a FunctionalModel, got 'mlp'"),
        ((net(), "hubr"), ValueError, "unknown loss 'hubr': did you mean 'huber'"),
        ((net(), 3), TypeError, "loss must be a name or a function"),
    ],
)
def test_wrong_arguments_are_refused(arguments, error, message):
    with pytest.raises(error, match=f"^{message}"):
        tl.Evaluator(*arguments)


def test_an_unknown_execution_is_refused():
    with pytest.raises(ValueError, match="^unknown execution 'grahp': did you mean 'graph'"):
        tl.Evaluator(net(), execution="grahp")
