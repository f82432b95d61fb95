"""Monitors run over a history of results."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from trainlib.monitors import EarlyStopState, early_stop, reduce_on_plateau

EPOCHS = 40
"""Length of a random history."""


def rates(history: Any, rate: float = 1.0, **options: Any) -> list[float]:
    """Return the learning rate after each epoch."""
    monitor = reduce_on_plateau("loss", **options)
    state, seen = monitor.init(rate), []
    for value in history:
        state = monitor.update(value, state)
        seen.append(float(state.learning_rate))
    return seen


def drops(history: Any, **options: Any) -> list[int]:
    """Return the indices of the epochs after which the rate was halved."""
    path = np.array([1.0, *rates(history, factor=0.5, **options)])
    assert set(path[1:] / path[:-1]) <= {0.5, 1.0}
    return list(np.flatnonzero(path[1:] < path[:-1]))


def stop_at(history: Any, **options: Any) -> tuple[int | None, EarlyStopState]:
    """Return the index of the epoch that stops, None if there is none, and the state."""
    monitor = early_stop("loss", **options)
    state = monitor.init()
    for index, value in enumerate(history):
        state = monitor.update(value, state)
        if state.stop:
            return index, state
    return None, state


def random_histories(rng: np.random.Generator, count: int = 10) -> np.ndarray:
    """Return random walks with ties, falls of min_delta, and NaN and inf after the start."""
    steps = rng.normal(-0.05, rng.uniform(0.01, 0.5), (count, EPOCHS))
    steps[rng.uniform(size=steps.shape) < 0.2] = 0.0
    walk = 3 + np.cumsum(steps, axis=1)
    walk[::2] = np.round(walk[::2], int(rng.integers(1, 4)))
    walk[1] = 0.7 - 1e-4 * np.cumsum(rng.integers(0, 3, EPOCHS))
    odd = rng.uniform(size=walk.shape) < rng.choice([0.0, 0.1])
    odd[:, 0] = False
    walk[odd] = rng.choice([np.nan, np.inf, -np.inf], odd.sum(), p=[0.5, 0.4, 0.1])
    return walk


def params_of(epoch: int) -> dict[str, Any]:
    """Return parameters that hold the number of an epoch."""
    return {"w": tf.fill([2, 3], float(epoch)), "n": [tf.constant(epoch, tf.int32)]}


def assert_same(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    """Assert that the arrays of a peer equal ours of the same name."""
    for name, expected in theirs.items():
        np.testing.assert_array_equal(np.asarray(ours[name]), expected, err_msg=name)
