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


OPTIONS = [
    {},
    {"metrics": ["accuracy", "auc"]},
    {"regularizer": tl.l2(0.5)},
    {"precision": "float64"},
    {"execution": "xla"},
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


def test_without_a_loss_it_predicts_only():
    evaluator = tl.Evaluator(net())
    np.testing.assert_allclose(evaluator.predict(X), net().predict(X, verbose=0), atol=1e-6)
    with pytest.raises(ValueError, match=r"^evaluate needs a loss: tl.Evaluator\(model, loss\)"):
        evaluator.evaluate((X, Y))


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
