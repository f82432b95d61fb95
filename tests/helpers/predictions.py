"""Random predictions of classes and of numbers."""

from __future__ import annotations

import numpy as np

from trainlib.report.predictions import Predictions


def classified(count: int, classes: int) -> Predictions:
    """Return predictions of classes, with their cross-entropy."""
    random = np.random.default_rng(count)
    scores = random.dirichlet(np.ones(classes), count)
    true = random.integers(0, classes, count).astype(np.int32)
    losses = -np.log(scores[np.arange(count), true])
    return Predictions(true, scores.argmax(1), scores, losses)


def numbers(count: int) -> Predictions:
    """Return predictions of numbers, with their squared error."""
    random = np.random.default_rng(count)
    true = random.normal(size=count)
    predicted = true + random.normal(size=count)
    return Predictions(true, predicted, None, (true - predicted) ** 2)
