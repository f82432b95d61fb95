"""Data for losses and metrics of Keras, and the names of its classes."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np

SIZE, K = 37, 4
RNG = np.random.default_rng(0)
WEIGHT = RNG.choice([0.0, 0.5, 1.0, 3.0], SIZE).astype("float32")
SCORE = RNG.random((SIZE, 1)).astype("float32")
ROWS = RNG.dirichlet(np.ones(K), SIZE).astype("float32")
NUMBERS = RNG.normal(size=(2, SIZE, 3)).astype("float32")
CLASSES = RNG.integers(0, K, SIZE)
ONE_HOT = np.eye(K, dtype="float32")[CLASSES]
BINARY = RNG.integers(0, 2, SIZE).astype("float32")
LABELS = RNG.integers(0, 2, (SIZE, K)).astype("float32")
IMAGES = np.round(RNG.random((SIZE, 4, 4, 1))), RNG.random((SIZE, 4, 4, 1)).astype("float32")
VECTORS = NUMBERS[1] / np.linalg.norm(NUMBERS[1], axis=-1, keepdims=True)

of_numbers, of_classes, of_rows = tuple(NUMBERS), (CLASSES, ROWS), (ONE_HOT, ROWS)
of_labels, of_binary = (LABELS, ROWS), (BINARY, SCORE)
of_counts = tuple(np.abs(NUMBERS))


def classes_of(module: Any, base: type) -> set[str]:
    """Return the names of the public classes of a module of Keras that derive from a class."""
    found = {name for name, x in vars(module).items() if inspect.isclass(x) and issubclass(x, base)}
    return found - {base.__name__}
