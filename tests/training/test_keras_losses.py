"""Losses of Keras are what they are in Keras: options, masks, weights and reductions."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers.beside_keras import LABELS as LABELS_OF_STEPS
from helpers.beside_keras import TOKENS, X, Y, assert_follows_keras, pair, sequential
from helpers.keras_objects import (
    BINARY,
    CLASSES,
    IMAGES,
    NUMBERS,
    ROWS,
    SCORE,
    VECTORS,
    WEIGHT,
    classes_of,
    of_classes,
    of_counts,
    of_labels,
    of_numbers,
    of_rows,
)

import trainlib as tl
from trainlib.training.resolve import resolve_loss, resolve_metric

LOSSES = {
    "BinaryCrossentropy": (of_labels, {"from_logits": True, "label_smoothing": 0.25}),
    "BinaryFocalCrossentropy": (of_labels, {"apply_class_balancing": True, "gamma": 3.0}),
    "CategoricalCrossentropy": (of_rows, {"label_smoothing": 0.25}),
    "CategoricalFocalCrossentropy": (of_rows, {"alpha": 0.5}),
    "CategoricalGeneralizedCrossEntropy": (of_classes, {"q": 0.25}),
    "CategoricalHinge": (of_rows, {}),
    "Circle": ((CLASSES, VECTORS), {"gamma": 2.0}),
    "CosineSimilarity": (of_numbers, {}),
    "CTC": ((CLASSES[:, None] % 2 + 1, np.stack([ROWS] * 3, axis=1)), {}),
    "Dice": (IMAGES, {"axis": (1, 2, 3)}),
    "Hinge": (of_labels, {}),
    "Huber": (of_numbers, {"delta": 0.5}),
    "KLDivergence": (of_rows, {}),
    "LogCosh": (of_numbers, {}),
    "MeanAbsoluteError": (of_numbers, {}),
    "MeanAbsolutePercentageError": (of_numbers, {}),
    "MeanSquaredError": (of_numbers, {}),
    "MeanSquaredLogarithmicError": (of_counts, {}),
    "Poisson": (of_counts, {}),
    "SparseCategoricalCrossentropy": (of_classes, {"ignore_class": 1}),
    "SquaredHinge": (of_labels, {}),
    "Tversky": (IMAGES, {"axis": (1, 2, 3), "alpha": 0.25}),
}


def test_the_table_holds_every_loss_of_keras():
    assert set(LOSSES) == classes_of(keras.losses, keras.losses.Loss)


@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "mean_with_sample_weight"])
@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_object_gives_the_losses_that_keras_reduces(name, reduction):
    (y, p), options = LOSSES[name]
    peer = getattr(keras.losses, name)(**options, reduction=reduction)
    losses = tl.loss_from_keras(peer)(tf.constant(y), tf.constant(p))
    for weight in (None, WEIGHT):
        ours = tl.losses.reduce(losses, weight, reduction)
        theirs = peer(y, p, sample_weight=weight)
        if name == "Circle" and weight is not None:
            continue  # Keras counts the losses outside its mask
        np.testing.assert_allclose(ours, theirs, rtol=2e-6, atol=1e-7)


@pytest.mark.parametrize("name", ["mean_squared_error", "binary_crossentropy", "hinge", "huber"])
def test_functions_of_keras_match_targets_and_predictions_as_keras_does(name):
    function = getattr(keras.losses, name)
    expected = function(BINARY[:, None], SCORE)
    for found in (resolve_loss(function), resolve_metric(function)):
        values = found(tf.constant(BINARY), tf.constant(SCORE))
        np.testing.assert_allclose(values, expected, rtol=1e-6)


def test_float64_predictions_are_compared_in_float64():
    y, p = (tf.constant(x, tf.float64) for x in NUMBERS)
    found = tl.loss_from_keras(keras.losses.MeanSquaredError())(y, p)
    assert found.dtype == tf.float64
    np.testing.assert_allclose(found, np.mean((NUMBERS[0] - NUMBERS[1].astype("f8")) ** 2, -1))


@pytest.mark.parametrize("reduction", ["sum", "none", None])
def test_a_reduction_that_is_no_mean_is_refused(reduction):
    loss = keras.losses.Huber(reduction=reduction)
    with pytest.raises(ValueError, match=f"^Huber has reduction={reduction!r}, but .* leave the"):
        tl.loss_from_keras(loss)


def dense():
    return sequential(keras.layers.Dense(1))


def tagger():
    """A class for each token, under the mask of the padding."""
    embedding = keras.layers.Embedding(20, 4, mask_zero=True)
    return sequential(embedding, keras.layers.Dense(3, activation="softmax"), shape=(6,))


ERROR, CROSSENTROPY = keras.losses.MeanSquaredError, keras.losses.SparseCategoricalCrossentropy
UNEVEN = np.random.default_rng(3).choice([0, 0.5, 1, 3], 20).astype("float32")
BESIDE = {
    "rows": (dense, (X, Y, UNEVEN), ERROR),
    "masks": (tagger, (TOKENS, LABELS_OF_STEPS, np.resize(UNEVEN, (16, 6))), CROSSENTROPY),
}


@pytest.mark.parametrize(
    ("name", "reduction"),
    [
        ("rows", "sum_over_batch_size"),
        ("masks", "mean_with_sample_weight"),
        pytest.param("rows", "mean_with_sample_weight", marks=pytest.mark.soak),
        pytest.param("masks", "sum_over_batch_size", marks=pytest.mark.soak),
    ],
)
def test_training_with_sample_weights_follows_the_reduction_as_keras_does(name, reduction):
    make, data, loss = BESIDE[name]
    assert_follows_keras(make, data, loss(reduction=reduction))


def by_class(y_true, y_pred):
    """The mean error of each class, over the examples."""
    return keras.ops.mean(keras.ops.square(y_true - y_pred), axis=0)


@pytest.mark.parametrize(
    "loss", [keras.losses.Dice(axis=0), keras.losses.Tversky(axis=0), by_class]
)
def test_a_loss_of_each_class_counts_by_the_examples_of_its_batch(loss):
    """Of 20 examples, the last batch has 4."""

    def classifier():
        return sequential(keras.layers.Dense(3, activation="softmax"))

    rows = np.eye(3, dtype="float32")[np.arange(20) % 3]
    assert_follows_keras(classifier, (X, rows), loss)
    with pytest.raises(ValueError, match="a loss of the whole batch takes no sample_weight"):
        tl.Trainer(classifier(), loss, tl.sgd(0.1)).fit((X, rows, UNEVEN))


def test_class_weights_and_functions_of_keras_count_as_in_keras():
    def classifier():
        return sequential(keras.layers.Dense(3, activation="softmax"))

    model, theirs = pair(classifier)
    loss, y = keras.losses.sparse_categorical_crossentropy, np.arange(20) % 3
    theirs.compile(keras.optimizers.SGD(0.1), loss)
    options = {"batch_size": 8, "epochs": 2, "shuffle": False, "class_weight": {0: 0.5, 2: 4.0}}
    expected = theirs.fit(X, y, verbose=0, **options).history["loss"]
    trainer = tl.Trainer(model, loss, tl.sgd(0.1), execution="graph")
    found = [results["loss"] for results in trainer.fit((X, y), **options)]
    np.testing.assert_allclose(found, expected, rtol=2e-5)


@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "mean_with_sample_weight"])
def test_accumulated_batches_make_the_step_of_keras_on_all_of_them(reduction):
    model, theirs = pair(dense)
    theirs.compile(keras.optimizers.SGD(0.1), ERROR(reduction=reduction))
    theirs.train_on_batch(X, Y, UNEVEN)
    optimizer = tl.accumulate(tl.sgd(0.1), 3)
    trainer = tl.Trainer(model, ERROR(reduction=reduction), optimizer, execution="graph")
    trainer.fit((X, Y, UNEVEN), batch_size=8)  # of 8, 8 and 4 examples
    for ours, other in zip(model.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(ours, other, rtol=1e-5)
