"""Inputs of the cases of losses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from trainlib.verify.problem import Arrays

RANK_3, CHANNELS_FIRST = (3, 4, 5), (3, 5, 4)


def numbers(
    dtype: str, shape: tuple[int, ...] = (12, 5), scale: float = 1.0, least: float | None = None
) -> Arrays:
    """Return targets and predictions, some of them equal, bounded below by `least`."""
    rng = np.random.default_rng(0)
    y, p = rng.normal(size=shape), scale * rng.normal(size=shape)
    p = np.where(rng.uniform(size=shape) < 0.1, y, p)
    if least is not None:
        y, p = np.maximum(y, least), np.maximum(p, least)
    return {"y_true": y.astype(dtype), "y_pred": p.astype(dtype)}


def errors(dtype: str, *sizes: float) -> Arrays:
    """Return predictions with errors of the given sizes and signs."""
    e = np.array([[s, -s, 0.0] for s in sizes])
    return {"y_true": np.zeros_like(e, dtype), "y_pred": e.astype(dtype)}


def with_zeros(dtype: str) -> Arrays:
    """Return vectors; the first prediction and the second target are 0."""
    data = numbers(dtype, (4, 3))
    data["y_pred"][0] = data["y_true"][1] = 0
    return data


def signs(
    dtype: str, low: float = -1.0, shape: tuple[int, ...] = (12, 5), ties: bool = False
) -> Arrays:
    """Return labels, `low` or 1, and scores; with `ties` some scores are at the margin."""
    rng = np.random.default_rng(0)
    y, p = rng.choice([low, 1.0], size=shape), 2 * rng.normal(size=shape)
    if ties:
        p = np.where(rng.uniform(size=shape) < 0.3, np.where(y > 0, 1.0, -1.0), p)
    return {"y_true": y.astype(dtype), "y_pred": p.astype(dtype)}


EDGES = [0, 1e-9, 1e-7, 0.5, 1 - 1e-6, 1]
WITHIN = 1.5
"""Logits whose probabilities lose no digits of float32 on the way through 1 - p."""


def classes(
    dtype: str,
    labels: str = "soft",
    outputs: str = "probabilities",
    shape: tuple[int, ...] = (12, 5),
    axis: int = -1,
    ignored: int | None = None,
) -> Arrays:
    """Return labels and predictions of classes along an axis.

    Args:
        dtype: dtype of the predictions.
        labels: "indices", "one-hot", "soft" (distributions) or "binary" (0, 1 and between).
        outputs: "probabilities", "unnormalised", "edges" (at and beyond the clip), "logits", "small
            logits" or "far logits" (0 and +-800).
        shape: shape of the predictions.
        axis: axis of the classes.
        ignored: an index to put among the labels.
    """
    rng = np.random.default_rng(0)
    k = shape[axis]
    rest = tuple(np.delete(shape, axis))
    y: np.ndarray = rng.integers(k, size=rest)
    if ignored is not None:
        y = np.where(rng.uniform(size=rest) < 0.3, ignored, y)
    elif labels == "one-hot":
        y = np.eye(k)[y].astype(dtype)
    elif labels == "soft":
        y = rng.dirichlet(np.ones(k), size=rest).astype(dtype)
    elif labels == "binary":
        y = rng.choice([0, 0, 1, 1, 0.25], size=(*rest, k)).astype(dtype)
    full = (*rest, k)
    draws: dict[str, Callable[[], Any]] = {
        "probabilities": lambda: rng.dirichlet(2 * np.ones(k), size=rest),
        "unnormalised": lambda: rng.uniform(0.05, 0.95, size=full),
        "edges": lambda: rng.choice(EDGES, size=full) + 0.25 * (np.arange(k) == 0),
        "logits": lambda: 3 * rng.normal(size=full),
        "small logits": lambda: rng.uniform(-WITHIN, WITHIN, size=full),
        "far logits": lambda: rng.choice([-800.0, 0.0, 800.0], size=full),
    }
    p = draws[outputs]()
    if labels != "indices":
        y = np.moveaxis(y, -1, axis)
    return {"y_true": y, "y_pred": np.moveaxis(p, -1, axis).astype(dtype)}


def regions(dtype: str, shape: tuple[int, ...] = (3, 4, 4, 2), empty: bool = False) -> Arrays:
    """Return true regions and probabilities; with `empty` the first example has no region."""
    rng = np.random.default_rng(0)
    y, p = rng.integers(2, size=shape), rng.uniform(size=shape)
    if empty:
        y[0], p[0] = 0, 0
    return {"y_true": y.astype(dtype), "y_pred": p.astype(dtype)}


def embeddings(dtype: str, references: int = 0) -> Arrays:
    """Return labels, unit vectors and references; the last vector is alone in its class."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=(10 + references, 4))
    z = (z / np.linalg.norm(z, axis=-1, keepdims=True)).astype(dtype)
    y = rng.integers(3, size=len(z))
    y[9] = 7
    data = {"y_true": y[:10], "y_pred": z[:10]}
    return data | ({"ref_labels": y[10:], "ref_embeddings": z[10:]} if references else {})


def sequences(dtype: str) -> Arrays:
    """Return labels with repetitions, shorter ones and none, and logits of nine steps."""
    z = 2 * np.random.default_rng(0).normal(size=(5, 9, 4))
    y = [[1, 2, 3, 1], [2, 2, 0, 0], [3, 0, 0, 0], [0, 0, 0, 0], [1, 1, 1, 1]]
    return {"y_true": np.array(y), "y_pred": z.astype(dtype)}


def of(data: Callable[..., Arrays], *args: Any, **options: Any) -> Callable[[str], Arrays]:
    """Return the data as a function of the dtype."""
    return lambda dtype: data(dtype, *args, **options)
