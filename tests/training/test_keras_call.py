"""What Keras layers do in a forward pass beside computing, next to `model.fit`."""

from __future__ import annotations

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers.beside_keras import (
    FIRST,
    LABELS,
    SEQUENCES,
    TOKENS,
    X,
    Y,
    assert_follows_keras,
    pair,
    sequential,
)
from helpers.executions import soak_except

import trainlib as tl

layers = keras.layers


class Count(layers.Layer):
    """Scales by a number that it counts up at each call, in inference mode too."""

    def build(self, shape):
        self.count = self.add_weight(shape=(), initializer="zeros", trainable=False, name="count")

    def call(self, x):
        self.count.assign_add(1.0)
        return x * (1 + 0.01 * self.count)


class MovingMean(layers.Layer):
    """Subtracts a mean that it has just assigned, through which no gradient flows."""

    def build(self, shape):
        self.mean = self.add_weight(shape=(), initializer="zeros", trainable=False, name="mean")

    def call(self, x, training=False):
        if training:
            self.mean.assign(0.5 * self.mean + 0.5 * tf.reduce_mean(x))
        return x - self.mean


class Watched(layers.Layer):
    """Keeps the mean of its inputs in a metric."""

    def __init__(self):
        super().__init__(name="watched")
        self.mean = keras.metrics.Mean(name="mean")

    def call(self, x):
        self.mean.update_state(x)
        return x


class MeanPenalty(layers.Layer):
    def call(self, x):
        self.add_loss(tf.reduce_mean(tf.reduce_sum(x**2, -1)))
        return x


class SumPenalty(layers.Layer):
    def call(self, x):
        self.add_loss(0.01 * tf.reduce_sum(x**2))
        return x


class Centered(layers.Layer):
    """Looks over the batch."""

    def call(self, x):
        return x - tf.reduce_mean(x, 0, keepdims=True)


def stateful(*cells):
    last = functools.partial(layers.Dense, 1, name="last")
    return lambda: sequential(*[make() for make in (*cells, last)], shape=(5, 3), rows=4)


STATEFUL = {
    "simple": stateful(lambda: layers.SimpleRNN(4, stateful=True, name="simple")),
    "lstm": stateful(lambda: layers.LSTM(4, stateful=True, name="lstm")),
    "stacked": stateful(
        lambda: layers.GRU(4, stateful=True, return_sequences=True),
        lambda: layers.Bidirectional(layers.SimpleRNN(3, stateful=True)),
    ),
    "cells": stateful(lambda: layers.RNN([layers.LSTMCell(3), layers.GRUCell(3)], stateful=True)),
}


@pytest.mark.parametrize("name", soak_except("lstm", names=STATEFUL))
def test_states_of_recurrent_layers_are_carried_as_in_keras(name):
    assert_follows_keras(STATEFUL[name], (SEQUENCES, FIRST), batch_size=4)


MADE = {
    "counted": lambda: sequential(Count(), layers.Dense(1)),
    "mean": lambda: sequential(layers.Dense(2), MovingMean(), layers.Dense(1)),
    "normalized kernel": lambda: sequential(
        layers.SpectralNormalization(layers.Dense(4)), layers.Dense(1)
    ),
    "constrained": lambda: sequential(
        layers.Dense(4, kernel_constraint="unit_norm", bias_constraint="non_neg"),
        layers.BatchNormalization(gamma_constraint=lambda w: keras.ops.clip(w, 0.99, 1.01)),
        layers.Dense(1, kernel_constraint=keras.constraints.MinMaxNorm(0.2, 0.3, rate=0.5)),
    ),
    "penalty": lambda: sequential(layers.Dense(2), MeanPenalty(), layers.Dense(1)),
    "sum": lambda: sequential(layers.Dense(2), SumPenalty(), layers.Dense(1)),
    "activity": lambda: sequential(
        layers.Dense(2, activity_regularizer="l2"), layers.Dense(1, kernel_regularizer="l1")
    ),
    "over the batch": lambda: sequential(layers.Dense(2), Centered(), layers.Dense(1)),
}


@pytest.mark.parametrize("name", soak_except("counted", "over the batch", names=MADE))
def test_layers_that_assign_constrain_penalize_or_look_over_the_batch_follow_keras(name):
    assert_follows_keras(MADE[name])  # 20 examples in batches of 8, 8 and 4


def test_a_shared_layer_penalizes_each_of_its_calls():
    def make():
        inputs, shared = keras.Input((3,)), layers.Dense(3, activity_regularizer="l2")
        return keras.Model(inputs, layers.Dense(1)(shared(shared(inputs))))

    assert_follows_keras(make)


def test_a_metric_in_a_layer_has_the_value_of_all_its_batches():
    model, theirs = pair(lambda: sequential(layers.Dense(2), Watched(), layers.Dense(1)))
    theirs.compile(keras.optimizers.SGD(0.05), "mse")
    given = {"batch_size": 8, "shuffle": False, "epochs": 2}
    fitted = theirs.fit(X, Y, **given, validation_data=(X[:9], Y[:9]), verbose=0).history
    trainer = tl.Trainer(model, "mean_squared_error", tl.sgd(0.05))
    history = trainer.fit((X, Y), **given, validation_data=(X[:9], Y[:9]))
    for name in ("mean", "val_mean"):
        assert [results[name] for results in history] == pytest.approx(fitted[name], rel=1e-4)
    layer, other = model.layers[1], theirs.layers[1]
    assert float(layer.mean.result()) == pytest.approx(float(other.mean.result()), rel=1e-4)
    expected = theirs.evaluate(X, Y, batch_size=8, verbose=0, return_dict=True)["mean"]
    assert trainer.evaluate((X, Y), batch_size=8)["mean"] == pytest.approx(expected, rel=1e-4)


class Inner(keras.Model):
    """Its dropout learns only from the outer call that the model trains."""

    def __init__(self):
        super().__init__()
        self.drop, self.outputs_layer = layers.Dropout(0.5), layers.Dense(1)
        self.build((None, 3))

    def build(self, shape):
        self.outputs_layer.build(shape)
        self.built = True

    def call(self, x, training=None):
        return self.outputs_layer(self.drop(x))


def test_the_mode_reaches_the_layers_of_a_custom_model():
    trainer = tl.Trainer(Inner(), "mean_squared_error", tl.sgd(0.0))
    first, second = (results["loss"] for results in trainer.fit((X, Y), epochs=2))
    assert first != second
    assert trainer.evaluate((X, Y)) == trainer.evaluate((X, Y))


class Assigning(layers.Layer):
    def __init__(self, attribute):
        super().__init__(name="assigning")
        self.attribute = attribute

    def call(self, x):
        if isinstance(self.attribute, int):
            self.attribute += 1
        else:
            self.attribute.assign(self.attribute + 1.0)
        return x


OUTSIDE = keras.Variable(0.0, name="outside")


class AssigningOutside(layers.Layer):
    def call(self, x):
        OUTSIDE.assign(1.0)
        return x


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Assigning(0), "layer 'assigning' assigns its attribute 'attribute' in its call"),
        (
            lambda: Assigning(tf.Variable(0.0)),
            r"the forward pass assigns a tf\.Variable \('attribute' of layer 'assigning'\)",
        ),
        (AssigningOutside, "the forward pass assigns the variable 'outside'"),
    ],
)
def test_what_no_state_can_carry_is_refused_before_the_first_step(make, message):
    trainer = tl.Trainer(sequential(make(), layers.Dense(1)), "mean_squared_error", tl.sgd(0.1))
    with pytest.raises(ValueError, match=message):
        trainer.fit((X, Y))
    assert int(trainer.state.step) == 0


class Showing(layers.Layer):
    """Keeps a tensor of its last call for others to read."""

    def call(self, x):
        self.last = 2 * x
        return x


def test_a_tensor_that_a_call_keeps_for_others_does_not_stop_training():
    trainer = tl.Trainer(sequential(Showing(), layers.Dense(1)), "mean_squared_error", tl.sgd(0.1))
    history = trainer.fit((X, Y), batch_size=24, epochs=2, validation_data=(X, Y))
    assert len(history) == 2


class Keeping(Assigning):
    def call(self, x):
        return x


def test_a_number_that_changes_is_refused_beside_another_layer_of_the_same_name():
    nested = (sequential(layer, layers.Dense(3)) for layer in (Assigning(0), Keeping(0)))
    trainer = tl.Trainer(sequential(*nested), "mean_squared_error", tl.sgd(0.1))
    with pytest.raises(ValueError, match="layer 'assigning' assigns its attribute 'attribute'"):
        trainer.fit((X, np.zeros([len(X), 3], "float32")))


@pytest.mark.parametrize("batch_size", [4, 5])
def test_states_continue_where_another_trainer_saved_them(batch_size):
    model, _ = pair(STATEFUL["simple"])
    trainer = tl.Trainer(model, "mean_squared_error", tl.sgd(0.05))
    if batch_size != 4:
        with pytest.raises(ValueError, match="layer 'simple' is stateful and takes batches of 4"):
            trainer.fit((SEQUENCES, FIRST), batch_size=batch_size)
        return
    trainer.fit((SEQUENCES, FIRST), shuffle=False, epochs=2)
    half, rest = pair(STATEFUL["simple"])
    first = tl.Trainer(half, "mean_squared_error", tl.sgd(0.05))
    first.fit((SEQUENCES, FIRST), shuffle=False)
    second = tl.Trainer(rest, "mean_squared_error", tl.sgd(0.05))
    second.state = first.state
    second.fit((SEQUENCES, FIRST), shuffle=False)
    for a, b in zip(model.get_weights(), rest.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def masked_model():
    return sequential(
        layers.Embedding(20, 4, mask_zero=True),
        layers.LSTM(4, return_sequences=True),
        layers.Dense(3, activation="softmax"),
        shape=(None,),
    )


SPARSE = "sparse_categorical_crossentropy"


def test_masked_steps_count_as_in_keras_over_uneven_batches():
    assert_follows_keras(masked_model, (TOKENS, LABELS), SPARSE, batch_size=5)


def test_masks_enter_functions_and_metrics():
    model, theirs = pair(masked_model)
    theirs.compile("sgd", SPARSE, metrics=["accuracy"])
    expected = theirs.evaluate(TOKENS, LABELS, batch_size=5, verbose=0)
    trainer = tl.Trainer(
        model,
        lambda y_true, y_pred: tl.losses.sparse_categorical_crossentropy(y_true, y_pred),
        tl.sgd(0.1),
        metrics={"by function": tl.metrics.accuracy, "matrix": "confusion_matrix"},
    )
    results = trainer.evaluate((TOKENS, LABELS), batch_size=5)
    assert [results["loss"], results["by function"]] == pytest.approx(expected, rel=1e-5)
    assert np.sum(results["matrix"]) == np.sum(TOKENS != 0)


def test_masks_and_sample_weights_multiply():
    weights = np.random.default_rng(1).uniform(0.5, 2, TOKENS.shape).astype("float32")
    model, theirs = pair(masked_model)
    mean = keras.losses.SparseCategoricalCrossentropy(reduction="mean_with_sample_weight")
    theirs.compile("sgd", mean)
    expected = theirs.evaluate(TOKENS, LABELS, sample_weight=weights, verbose=0)
    trainer = tl.Trainer(model, SPARSE, tl.sgd(0.1))
    found = trainer.evaluate((TOKENS, LABELS, weights))["loss"]
    assert found == pytest.approx(expected, rel=1e-5)


def test_a_loss_of_the_whole_batch_is_not_masked_and_weighs_by_rows():
    def make():
        embedding, last = layers.Embedding(20, 4, mask_zero=True), layers.Dense(1, "sigmoid")
        return sequential(embedding, layers.Dense(3, "tanh"), last, shape=(None,))

    y = (LABELS[..., None] > 0).astype("float32")
    assert_follows_keras(make, (TOKENS, y), "dice", keras.losses.Dice(), batch_size=5)
