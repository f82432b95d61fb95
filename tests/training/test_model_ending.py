"""The activation that a Keras model ends in, as its last layers show it."""

from __future__ import annotations

import keras
import pytest

from trainlib.training.model_ending import final_activation

L = keras.layers


def dense(activation=None):
    return lambda: L.Dense(3, activation)


def sequential(*last):
    return keras.Sequential([keras.Input((4,)), *(layer() for layer in last)])


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        ([dense()], "linear"),
        ([dense("log_softmax")], "log_softmax"),
        ([dense("hard_sigmoid")], "hard_sigmoid"),
        ([dense("sigmoid"), lambda: L.Activation("linear")], "sigmoid"),
        ([lambda: L.Reshape((4, 1)), lambda: L.Conv1D(2, 1), L.Flatten], "linear"),
        ([lambda: L.Reshape((4, 1)), lambda: L.TimeDistributed(L.Dense(1, "sigmoid"))], "sigmoid"),
        ([lambda: L.Reshape((4, 1)), lambda: L.LSTM(2)], None),
        ([lambda: L.Dropout(0.5)], None),
    ],
)
def test_the_last_layer_shows_the_activation(layers, expected):
    assert final_activation(sequential(*layers)) == expected


def test_two_outputs_show_it_together():
    x = keras.Input((4,))
    same = keras.Model(x, [L.Dense(1)(x), L.Dense(2)(x)])
    mixed = keras.Model(x, {"a": L.Dense(1)(x), "b": L.Dense(2, activation="softmax")(x)})
    assert (final_activation(same), final_activation(mixed)) == ("linear", None)
