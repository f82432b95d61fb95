"""The variables of a Keras model by path, those that Keras does not list among them."""

from __future__ import annotations

import keras
from helpers.beside_keras import sequential

from trainlib.training.model_variables import constraints_of, model_variables, unlisted_variables

layers = keras.layers


class Measured(layers.Layer):
    def __init__(self):
        super().__init__(name="measured")
        self.first, self.second = keras.metrics.Mean(), keras.metrics.Mean()

    def call(self, x):
        return x


def test_states_and_metrics_of_layers_are_named_by_their_layer():
    lstm = layers.LSTM(3, stateful=True, name="lstm")
    model = sequential(lstm, Measured(), layers.Dense(1), shape=(5, 3), rows=4)
    model.compile("sgd", "mse", metrics=["mae"])
    _, kept = model_variables(model)
    assert list(kept) == [
        *(path for path in kept if path.startswith("seed_generator")),
        *("lstm/rnn_state", "lstm/rnn_state_1"),
        *("measured/total", "measured/count", "measured/total_1", "measured/count_1"),
    ]
    assert kept["lstm/rnn_state_1"] is lstm.states[1]


def test_an_ordinary_model_has_no_others():
    model = sequential(layers.Dense(2), layers.BatchNormalization(), layers.Dropout(0.5))
    model.compile("adam", "mse", metrics=["mae"])
    assert list(unlisted_variables(model)) == []


def test_constraints_are_those_of_trained_variables():
    frozen = layers.Dense(1, kernel_constraint="non_neg", name="frozen")
    frozen.trainable = False
    embedding = layers.Dense(2, bias_constraint="unit_norm", name="first")
    assert list(constraints_of(sequential(embedding, frozen))) == ["first/bias"]
