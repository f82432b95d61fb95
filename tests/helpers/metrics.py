"""Classes and scores for metrics, and the value of a metric on arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from trainlib.metrics import Metric

SIZE, K = 80, 4
_RNG = np.random.default_rng(0)
CLASSES = _RNG.integers(0, K, SIZE)
ROWS = np.eye(K)[CLASSES]
SCORES = _RNG.permuted(np.tile(np.arange(K) / K, (SIZE, 1)), axis=1)
"""The scores of a row differ, and 0.5 is among them."""
WEIGHTS = _RNG.choice([0, 0.5, 2], SIZE)


def value(metric: Metric, *arrays: Any) -> Any:
    """Return the value of a metric on y_true, y_pred and, if given, sample weights."""
    return metric.compute(metric.from_model_output(*arrays)).numpy()


def confusion_counts(weights: np.ndarray) -> np.ndarray:
    """Return the confusion matrix of CLASSES and SCORES, by NumPy."""
    counts = np.zeros((K, K))
    np.add.at(counts, (CLASSES, np.argmax(SCORES, axis=-1)), weights)
    return counts
