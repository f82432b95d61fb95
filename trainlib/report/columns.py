"""Columns of a run's history: a result by epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from trainlib.monitors.improvement import direction

History: TypeAlias = Sequence[Mapping[str, Any]]
"""The results of each epoch, by name."""

VALIDATION_PREFIX = "val_"
LEARNING_RATE = "learning_rate"
NORM_SUFFIX = "_norm"
LOSS_SCALING = ("loss_scale", "skipped_steps")
"""Columns of training with a loss scale."""
_NOT_RESULTS = ("epoch", "step", "seconds", LEARNING_RATE, *LOSS_SCALING)


class BestEpoch(NamedTuple):
    """The epoch with the best value of a result.

    Attributes:
        epoch: its number.
        value: the value.
    """

    epoch: int
    value: float


def column(history: History, name: str) -> np.ndarray:
    """Return a result by epoch, float64 [epochs]; NaN where an epoch has no number."""
    return np.array([number(results.get(name)) for results in history], np.float64)


def epochs(history: History) -> np.ndarray:
    """Return the numbers of the epochs."""
    return np.array([int(results["epoch"]) for results in history])


def result_names(history: History) -> list[str]:
    """Return the names of the loss and the scalar metrics, without `val_`, in their order."""
    found = {
        name.removeprefix(VALIDATION_PREFIX): None
        for results in history
        for name, value in results.items()
        if name not in _NOT_RESULTS and not name.endswith(NORM_SUFFIX) and _is_number(value)
    }
    return list(found)


def validation_ratio(history: History) -> np.ndarray:
    """Return the ratio of validation and training loss by epoch; NaN for missing results."""
    trained = column(history, "loss")
    validated = column(history, f"{VALIDATION_PREFIX}loss")
    trained[trained == 0] = np.nan
    return np.asarray(validated / trained)


def norm_names(history: History) -> list[str]:
    """Return the names of the columns that hold norms of gradients and updates."""
    return list(
        {name: None for results in history for name in results if name.endswith(NORM_SUFFIX)}
    )


def has_column(history: History, name: str) -> bool:
    """Return whether any epoch has a number with a name."""
    return any(_is_number(results.get(name)) for results in history)


def best_epoch(history: History, name: str) -> BestEpoch | None:
    """Return the first epoch with the best value of a result.

    The result is None if the name does not show whether lower or higher is better, or if no value
    is finite.
    """
    try:
        sign = 1 if direction(name) == "min" else -1
    except ValueError:
        return None
    values = column(history, name)
    finite = np.isfinite(values)
    if not finite.any():
        return None
    index = int(np.argmin(np.where(finite, sign * values, np.inf)))
    return BestEpoch(int(epochs(history)[index]), float(values[index]))


def best_by_loss(history: History) -> tuple[BestEpoch | None, str]:
    """Return the best epoch by the validation loss, else by the loss, and the name of the loss."""
    name = VALIDATION_PREFIX + "loss"
    name = name if has_column(history, name) else "loss"
    return best_epoch(history, name), name


def scalars(results: Mapping[str, Any]) -> dict[str, float]:
    """Return the results that are one number; NaN for null, which JSON has if it is not finite."""
    return {k: number(x) for k, x in results.items() if x is None or _is_number(x)}


def number(value: Any) -> float:
    """Return a result as a number; NaN for None and other values."""
    return float(value) if _is_number(value) else np.nan


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
