"""Smoothed losses, by the definition of their weights."""

from __future__ import annotations

import numpy as np


def weighted_means(losses: np.ndarray, s: float) -> np.ndarray:
    """Return the mean of the losses up to each step k, with weights s^(k - j)."""
    weights = [s ** np.arange(k, -1.0, -1.0) for k in range(len(losses))]
    return np.array([w @ losses[: k + 1] / w.sum() for k, w in enumerate(weights)])
