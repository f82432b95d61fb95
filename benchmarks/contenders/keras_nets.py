"""The models of the workloads in Keras, with which trainlib, Keras and the steps by hand train."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from workloads import Workload

import trainlib as tl
from trainlib.models.custom_layers import PositionEmbedding

WIDTH, HEADS, FEEDFORWARD = 64, 4, 128
"""Sizes of the vectors of words and of recurrent states, and of the blocks of the transformer."""


def make_model(of: Workload, weights: list[np.ndarray]) -> Any:
    """Return the workload's model, which ends in logits or in the value of a regression."""
    model = NETS[of.net](of)
    model.set_weights(weights)
    return model


def draw_weights(of: Workload, seed: int) -> list[np.ndarray]:
    """Return the weights with which the workload's model starts by itself."""
    keras.utils.set_random_seed(seed)
    weights: list[np.ndarray] = NETS[of.net](of).get_weights()
    return weights


def make_loss(of: Workload) -> Any:
    """Return the loss as a Keras object, of each output where there are several."""
    if of.classes:
        return keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    if of.net == "wide_deep":
        return {name: keras.losses.MeanSquaredError() for name in ("main", "aux")}
    return keras.losses.MeanSquaredError()


def _chain(of: Workload) -> Any:
    layers: list[Any] = [keras.Input(of.input_shape)]
    if of.filters:
        layers += [
            keras.layers.Conv2D(of.filters, 3, activation="relu"),
            keras.layers.MaxPooling2D(),
            keras.layers.Flatten(),
        ]
    layers += [keras.layers.Dense(units, activation="relu") for units in of.hidden]
    return keras.Sequential([*layers, keras.layers.Dense(of.outputs)])


def _of_words(of: Workload, *layers: Any) -> Any:
    """Return a chain of layers on the vectors of words, without a mask."""
    words = keras.Input(of.input_shape, dtype="int32")
    embedding = keras.layers.Embedding(of.vocabulary, WIDTH)
    return keras.Sequential([words, embedding, *layers, keras.layers.Dense(of.outputs)])


def _transformer(of: Workload) -> Any:
    """Return two blocks of attention and dense layers, each after a layer normalization."""
    words = keras.Input(of.input_shape, dtype="int32")
    x = PositionEmbedding()(keras.layers.Embedding(of.vocabulary, WIDTH)(words))
    for _ in range(2):
        normal = keras.layers.LayerNormalization()(x)
        x = x + keras.layers.MultiHeadAttention(HEADS, WIDTH // HEADS)(normal, normal)
        y = keras.layers.LayerNormalization()(x)
        y = keras.layers.Dense(FEEDFORWARD, activation="gelu")(y)
        x = x + keras.layers.Dense(WIDTH)(y)
    x = keras.layers.GlobalAveragePooling1D()(keras.layers.LayerNormalization()(x))
    return keras.Model(words, keras.layers.Dense(of.outputs)(x))


def _wide_deep(of: Workload) -> Any:
    return tl.models.wide_deep(
        of.input_shape,
        of.outputs,
        hidden=of.hidden,
        wide_columns="0-4",
        deep_columns="2-7",
        auxiliary_output=True,
    )


NETS: dict[str, Callable[[Workload], Any]] = {
    "": _chain,
    "resnet": lambda of: tl.models.resnet(of.input_shape, of.outputs, depth=20),
    "separable": lambda of: tl.models.separable_cnn(of.input_shape, of.outputs),
    "lstm": lambda of: _of_words(of, keras.layers.LSTM(WIDTH)),
    "gru": lambda of: _of_words(of, keras.layers.GRU(WIDTH)),
    "embedding": lambda of: _of_words(of, keras.layers.GlobalAveragePooling1D()),
    "transformer": _transformer,
    "wide_deep": _wide_deep,
}
"""Makers of the models by `Workload.net`."""
