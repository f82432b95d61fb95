"""The table of models, and the data that they share."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

SIZE, BATCH = 22, 6
"""The last batch has four examples."""
_RNG = np.random.default_rng(0)
ROWS = _RNG.normal(size=(SIZE, 4)).astype("float32")
SEQUENCES = _RNG.normal(size=(SIZE, 5, 3)).astype("float32")
IMAGES = _RNG.normal(size=(SIZE, 6, 6, 2)).astype("float32")
NUMBERS = np.tanh(ROWS[:, :1] + SEQUENCES[:, :1, 0])
STEPS = np.tanh(SEQUENCES[:, :, :1])
"""A number for each step of a sequence."""
CLASSES = _RNG.integers(0, 3, SIZE)
LENGTHS = _RNG.integers(2, 7, SIZE)
TOKENS = _RNG.integers(1, 12, (SIZE, 6)) * (np.arange(6) < LENGTHS[:, None])
"""Rows of tokens that zeros fill up."""
TAGS = _RNG.integers(0, 3, (SIZE, 6))
"""A class for each token."""
PADDED = SEQUENCES * (np.arange(5) < np.minimum(LENGTHS, 5)[:, None])[:, :, None]
"""Sequences that rows of zeros fill up."""


@dataclasses.dataclass(frozen=True)
class Case:
    """A model with its data.

    Attributes:
        make: function that returns a new model.
        x, y: arrays or structures of arrays.
        loss: name of a loss in Keras and here, or what Keras's `compile` takes.
        ours: the loss of `Trainer` where that is another. Default: None.
        tolerance: relative error of losses and predictions. Default: of float32's rounding.
        batch_size: examples of a batch, in training and outside of it. Default: 6.
    """

    make: Callable[[], keras.Model]
    x: Any
    y: Any
    loss: Any = "mean_squared_error"
    ours: Any = None
    tolerance: float = 2e-5
    batch_size: int = BATCH

    def build(self) -> keras.Model:
        """Return a new model; two of them have the same names and the same weights."""
        keras.utils.clear_session(free_memory=False)
        keras.utils.set_random_seed(0)
        return self.make()


MODELS: dict[str, Case] = {}
"""The models by name."""


def model(x: Any, y: Any, **options: Any) -> Callable[[Callable[[], Any]], Callable[[], Any]]:
    """Add the model that a function makes to the table, under the function's name."""

    def add(make: Callable[[], Any]) -> Callable[[], Any]:
        assert make.__name__ not in MODELS, make.__name__
        MODELS[make.__name__] = Case(make, x, y, **options)
        return make

    return add


def stack(*layers: Any, shape: tuple[int | None, ...]) -> keras.Sequential:
    """Return a sequential model for examples of a shape."""
    return keras.Sequential([keras.Input(shape), *layers])
