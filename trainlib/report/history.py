"""What a run's history holds, as columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from trainlib.monitors.improvement import direction

History = Sequence[Mapping[str, Any]]
"""The results of each epoch."""

IN_VALIDATION = "val_"
RATE = "learning_rate"
NORM = "_norm"
SCALING = ("loss_scale", "skipped_steps")
"""Of training in a short type."""
_NO_RESULTS = ("epoch", "step", "seconds", RATE, *SCALING)


class Best(NamedTuple):
    """The best epoch by a result."""

    epoch: int
    value: float


def column(history: History, name: str) -> np.ndarray:
    """The values of a result, float64; NaN where an epoch has none, or no single number."""
    return np.array([_number(results.get(name)) for results in history], np.float64)


def epochs(history: History) -> np.ndarray:
    """The numbers of the epochs."""
    return np.array([int(results["epoch"]) for results in history])


def names(history: History) -> list[str]:
    """The loss and the metrics that are single numbers, in their order, without `val_`."""
    found = {
        name.removeprefix(IN_VALIDATION): None
        for results in history
        for name, value in results.items()
        if name not in _NO_RESULTS and not name.endswith(NORM) and _is_number(value)
    }
    return list(found)


def norms(history: History) -> list[str]:
    """The columns that are norms: of gradients, of updates."""
    return list({name: None for results in history for name in results if name.endswith(NORM)})


def has(history: History, name: str) -> bool:
    """Whether an epoch has a number of that name."""
    return any(_is_number(results.get(name)) for results in history)


def best(history: History, name: str) -> Best | None:
    """The first epoch with the best value of a result.

    None where the name does not tell whether less or more is better, and where nothing is finite.
    """
    try:
        sign = 1 if direction(name) == "min" else -1
    except ValueError:
        return None
    values = column(history, name)
    finite = np.isfinite(values)
    if not finite.any():
        return None
    place = int(np.argmin(np.where(finite, sign * values, np.inf)))
    return Best(int(epochs(history)[place]), float(values[place]))


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _number(value: Any) -> float:
    return float(value) if _is_number(value) else np.nan
