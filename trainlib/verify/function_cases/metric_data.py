"""Inputs of the cases of metrics: functions `(rng, dtype) -> (y_true, y_pred)`."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

SIZE, CLASSES = 41, 5
CUTS = (0, 1, 14, 14, SIZE)
"""Boundaries of the parts: one example, many, none, the rest."""
WEIGHT = np.resize([1.0, 0.0, 0.5, 3.0, 0.25], SIZE)

Data = Callable[[np.random.Generator, str], tuple[np.ndarray, np.ndarray]]


def ties(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """Return scores with few values, many of them 0.5 and many equal."""
    return (rng.integers(0, 9, shape) / 8).astype(dtype)


def fine(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """Return scores, half of them at the 200 thresholds of an area, and both ends."""
    p = np.where(rng.random(shape) < 0.5, rng.random(shape), rng.integers(0, 200, shape) / 199)
    p.flat[0], p.flat[-1] = 0, 1
    return p.astype(dtype)


def binary(rng: np.random.Generator, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    """Return binary labels and scores of shape [batch]."""
    return rng.integers(0, 2, SIZE), ties(rng, (SIZE,), dtype)


def column(rng: np.random.Generator, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    """Return binary labels of shape [batch] and scores of shape [batch, 1]."""
    return rng.integers(0, 2, SIZE).astype(dtype), ties(rng, (SIZE, 1), dtype)


def labels(rng: np.random.Generator, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    """Return independent labels and scores of shape [batch, K]."""
    return rng.integers(0, 2, (SIZE, CLASSES)), ties(rng, (SIZE, CLASSES), dtype)


def one_hot(rng: np.random.Generator, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    """Return one-hot rows and scores."""
    return np.eye(CLASSES)[rng.integers(0, CLASSES, SIZE)], ties(rng, (SIZE, CLASSES), dtype)


def classes(rng: np.random.Generator, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    """Return class indices and scores with ties."""
    return rng.integers(0, CLASSES, SIZE), ties(rng, (SIZE, CLASSES), dtype)


def distinct(rng: np.random.Generator, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    """Return class indices and scores without ties."""
    return rng.integers(0, CLASSES, SIZE), rng.random((SIZE, CLASSES)).astype(dtype)


def fine_binary(rng: np.random.Generator, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    """Return binary labels and scores at the thresholds of an area."""
    return rng.integers(0, 2, SIZE), fine(rng, (SIZE,), dtype)


def fine_labels(rng: np.random.Generator, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    """Return independent labels and scores at the thresholds of an area."""
    return rng.integers(0, 2, (SIZE, CLASSES)), fine(rng, (SIZE, CLASSES), dtype)


def all_true(rng: np.random.Generator, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    """Return labels that are all 1, and scores."""
    return np.ones(SIZE, np.int64), fine(rng, (SIZE,), dtype)


def logits(rng: np.random.Generator, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    """Return binary labels and logits."""
    return rng.integers(0, 2, SIZE), rng.normal(scale=3, size=SIZE).astype(dtype)


def void_classes(rng: np.random.Generator, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    """Return class indices, some of them 255 and some -1, and scores."""
    y, p = classes(rng, dtype)
    return np.where(rng.random(SIZE) < 0.2, rng.choice([255, -1], SIZE), y), p


def predicted(rng: np.random.Generator, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    """Return true and predicted class indices."""
    y, p = rng.integers(0, CLASSES, (2, SIZE))
    return y, np.where(rng.random(SIZE) < 0.5, y, p)


def probabilities(rng: np.random.Generator, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    """Return class indices and probabilities of the classes."""
    return rng.integers(0, CLASSES, SIZE), rng.dirichlet(np.ones(CLASSES), SIZE).astype(dtype)


def distributions(rng: np.random.Generator, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    """Return true and predicted probabilities of the classes."""
    y, p = rng.dirichlet(np.ones(CLASSES), (2, SIZE))
    return y.astype(dtype), p.astype(dtype)


def counts(rng: np.random.Generator, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    """Return targets and predictions above 0."""
    y, p = numbers(rng, dtype)
    return np.abs(y) + y.dtype.type(0.125), np.abs(p) + p.dtype.type(0.125)


def sequences(rng: np.random.Generator, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    """Return label sequences, padded with 0, and logits of nine steps."""
    y = rng.integers(1, CLASSES, (SIZE, 4)) * (np.arange(4) < rng.integers(1, 5, (SIZE, 1)))
    return y, rng.normal(size=(SIZE, 9, CLASSES)).astype(dtype)


def embeddings(rng: np.random.Generator, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    """Return class indices and unit vectors."""
    z = rng.normal(size=(SIZE, 4))
    return rng.integers(0, 3, SIZE), (z / np.linalg.norm(z, axis=-1, keepdims=True)).astype(dtype)


def numbers(rng: np.random.Generator, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    """Return targets and predictions of three outputs."""
    y, e = rng.normal(size=(2, SIZE, 3))
    return y.astype(dtype), (y + e * [0.25, 0.5, 2.0]).astype(dtype)


def number(rng: np.random.Generator, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    """Return targets of shape [batch] and predictions of shape [batch, 1]."""
    y, p = numbers(rng, dtype)
    return y[:, 0], p[:, :1]
