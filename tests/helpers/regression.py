"""A small regression problem as arrays and as batches, for tests of data adapters."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

import trainlib as tl
from helpers.trainers import TrainerPool

SIZE, BATCH = 37, 4
RNG = np.random.default_rng(0)
X = RNG.normal(size=(SIZE, 6)).astype("float32")
Y = RNG.normal(size=(SIZE, 1)).astype("float32")
WEIGHT = RNG.uniform(0.5, 2, SIZE).astype("float32")
DATA = (X, Y, WEIGHT)


def batches_of(data: Any = DATA, size: int = BATCH) -> list[Any]:
    """Return arrays as a list of batches."""
    return [tuple(a[i : i + size] for a in data) for i in range(0, len(data[0]), size)]


def trainer_of(optimizer: Any = None, execution: str = "graph") -> tl.Trainer:
    """Return a trainer of a net of two layers."""
    keras.utils.set_random_seed(0)
    layers = keras.layers.Dense(5, name="hidden"), keras.layers.Dense(1, name="outputs")
    model = keras.Sequential([keras.Input((6,)), *layers])
    optimizer = optimizer or tl.sgd(0.125, momentum=0.5)
    return tl.Trainer(model, "mean_squared_error", optimizer, execution=execution)


POOL = TrainerPool(trainer_of)


def train_on(
    data: Any, epochs: int = 2, trainer: Any = None, execution: str = "graph", **options: Any
) -> tuple[list[bytes], list[float]]:
    """Return the bits of the parameters, and the losses, after training on some data.

    Without a trainer it is one of `trainer_of` in its first state, not always a new one.
    """
    with POOL.lending() as lend:
        trainer = trainer or lend(execution=execution)
        history = trainer.fit(data, epochs=epochs, **options)
        params = [w.numpy().tobytes() for w in trainer.state.params.values()]
        return params, [results["loss"] for results in history]
