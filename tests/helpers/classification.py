"""A small classification problem for tests of training, its model and its trainer."""

from __future__ import annotations

import functools
from typing import Any

import keras
import numpy as np

import trainlib as tl

SIZE, BATCH = 20, 5
RNG = np.random.default_rng(0)
X = RNG.normal(size=(SIZE, 4)).astype("float32")
Y = RNG.integers(0, 3, SIZE)
WEIGHT = RNG.uniform(0.5, 2, SIZE).astype("float32")
NOISE = RNG.integers(0, 3, SIZE)
"""Labels independent of X: a model that memorizes Y gets worse on them."""
ROUNDING = {"float32": 2e-6, "float64": 1e-14}
"""Relative error of a few epochs: 16 units in the last place in float32, 45 in float64."""
crossentropy = functools.partial(tl.losses.sparse_categorical_crossentropy, from_logits=True)


def net(*, dropout: float = 0.0, dtype: str = "float32", seed: int = 0) -> keras.Sequential:
    """Return a net with batch normalization, and dropout if asked for."""
    keras.utils.set_random_seed(seed)
    layers = [
        keras.layers.Dense(8, use_bias=False, dtype=dtype, name="hidden"),
        keras.layers.BatchNormalization(dtype=dtype, name="norm"),
        keras.layers.Activation("tanh", dtype=dtype, name="tanh"),
        keras.layers.Dense(3, dtype=dtype, name="outputs"),
    ]
    if dropout:
        layers.insert(3, keras.layers.Dropout(dropout, dtype=dtype, name="dropout"))
    return keras.Sequential([keras.Input((4,), dtype=dtype), *layers])


def trainer_of(model: Any = None, optimizer: Any = None, **options: Any) -> tl.Trainer:
    """Return a trainer of the net, by default with momentum, accuracy and graph execution."""
    options = {"execution": "graph", "metrics": ["accuracy"]} | options
    return tl.Trainer(
        model or net(), crossentropy, optimizer or tl.sgd(2**-5, momentum=0.75), **options
    )


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Return log softmax over the last axis in float64."""
    z = logits.astype("float64")
    z -= z.max(axis=-1, keepdims=True)
    return z - np.log(np.sum(np.exp(z), axis=-1, keepdims=True))
