"""Layers that scale the inputs of a model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from trainlib.experiment.task import Task

BOUND = 10.0
"""Standard deviations from the mean at which the columns of a table are clipped."""
PIXELS = 255.0
"""Largest value of uint8 images."""


def scaling_layers(task: Task) -> list[Any] | dict[str, list[Any]]:
    """Return layers that scale images to [0, 1], or standardize columns; a dict for several inputs.

    Columns are clipped at BOUND standard deviations: a single value 125 standard deviations away
    from the mean makes plain gradient descent diverge.
    """
    if isinstance(task.train.x, Mapping):
        weights = task.weights
        return {name: _of_array(x, weights, f"{name}_") for name, x in task.train.x.items()}
    if task.dataset.x_max:
        return _of_pixels(task.dataset.x_max)
    if task.train.x.ndim != 2 or task.dataset.vocabulary:
        return []
    mean, variance = _moments(task.train.x.astype(np.float64), task.weights)
    if task.dataset.preprocessing is not None:  # indicators, which are 0 or 1, stay as they are
        scaled = np.array(task.dataset.preprocessing.scaled)
        mean, variance = np.where(scaled, mean, 0), np.where(scaled, variance, 1)
    if not task.signature.inputs:
        return _standardizing(mean, variance)
    return {
        name: _standardizing(mean[list(columns)], variance[list(columns)], f"{name}_")
        for name, columns in task.signature.inputs.items()
    }


def _moments(x: np.ndarray, weights: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Return the weighted mean and variance of each column."""
    if weights is None:
        return x.mean(0), x.var(0)
    mean = np.average(x, axis=0, weights=weights)
    return mean, np.average(np.square(x - mean), axis=0, weights=weights)


def _of_array(x: np.ndarray, weights: np.ndarray | None, prefix: str) -> list[Any]:
    """Return the layers of one of several arrays of inputs."""
    if x.dtype == np.uint8:
        return _of_pixels(PIXELS, prefix)
    if x.ndim != 2:
        return []
    return _standardizing(*_moments(x.astype(np.float64), weights), prefix)


def _of_pixels(largest: float, prefix: str = "") -> list[Any]:
    """Return the layer that scales pixels from 0 to a largest value to [0, 1]."""
    return [keras.layers.Rescaling(1 / largest, name=f"{prefix}scale")]


def _standardizing(mean: np.ndarray, variance: np.ndarray, prefix: str = "") -> list[Any]:
    """Return layers that standardize columns and clip them, with names after a prefix."""
    return [
        keras.layers.Normalization(mean=mean, variance=variance, name=f"{prefix}standardize"),
        keras.layers.Rescaling(1 / BOUND, name=f"{prefix}in_units_of_the_bound"),
        keras.layers.Activation("hard_tanh", name=f"{prefix}bound"),
        keras.layers.Rescaling(BOUND, name=f"{prefix}in_standard_deviations"),
    ]
