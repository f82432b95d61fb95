"""The losses of a range test, and the learning rates that are read from them.

The definitions are in the docstring of `trainlib.tools.range_test.lr_finder`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np

from trainlib.core.checks import check_choice, check_integer, check_number

DESCENT = 0.6
"""Fraction of the decrease of the loss that is reached at the suggested rate."""
BEST_OF = ("smoothed", "raw")

OnStep: TypeAlias = Callable[[int, float, float, float], None]
"""Called after each step with the step, its learning rate, its loss and the smoothed loss."""


@dataclass(frozen=True)
class RangeTest:
    """Options of a learning-rate range test.

    Args:
        start_lr: the first learning rate, above 0. Default: 1e-7.
        end_lr: the last learning rate, above `start_lr`. Default: 10.
        max_steps: steps from the first rate to the last, at least 10. Default: 100.
        smoothing: weight s of the moving average of the losses, in [0, 1). The smoothed loss lags
            by about 1 / (1 - s) steps: use a smaller value for fewer steps. Default: 0.9.
        diverge_factor: the test ends when the smoothed loss exceeds this multiple of the lowest
            loss; above 1. Default: 4.
        best_of: the lowest loss is that of the "smoothed" (default) or of the "raw" losses; with
            "raw" a single easy batch can end the test.

    Raises:
        TypeError: an argument has another type.
        ValueError: an argument is out of its range.

    Example:
        >>> tl.RangeTest(end_lr=1.0, max_steps=50).end_lr
        1.0
    """

    start_lr: float = 1e-7
    end_lr: float = 10.0
    max_steps: int = 100
    smoothing: float = 0.9
    diverge_factor: float = 4.0
    best_of: str = "smoothed"

    def __post_init__(self) -> None:
        check_number("start_lr", self.start_lr, above=0)
        check_number("end_lr", self.end_lr, above=self.start_lr)
        check_integer("max_steps", self.max_steps, at_least=10)
        check_number("smoothing", self.smoothing, at_least=0, below=1)
        check_number("diverge_factor", self.diverge_factor, above=1)
        check_choice("best_of", self.best_of, BEST_OF)


class LRFinderResult(NamedTuple):
    """Result of `lr_finder`: the curve, and the learning rates that are read from it.

    Attributes:
        rates: learning rate of each step, float64 [K].
        losses: loss of each step, float64 [K]; the last may be the one that ended the test.
        smoothed: smoothed loss of each step, float64 [K].
        steepest: the rate at which the smoothed loss fell fastest.
        tenth_of_minimum: a tenth of the rate at which the smoothed loss was lowest.
        suggestion: the rate at which the smoothed loss had reached 60 % of its decrease.
        stopped: reason for the end of the test: "diverged", "nan" (a loss was NaN or infinite) or
            "end".

    Example:
        >>> print(tl.LRFinderResult._fields[3:])
        ('steepest', 'tenth_of_minimum', 'suggestion', 'stopped')
    """

    rates: np.ndarray
    losses: np.ndarray
    smoothed: np.ndarray
    steepest: float
    tenth_of_minimum: float
    suggestion: float
    stopped: str


def follow(
    found: Iterator[float], rates: np.ndarray, test: RangeTest, on_step: OnStep | None = None
) -> LRFinderResult:
    """Consume losses until the test ends, and return the result.

    Args:
        found: iterator over the losses of the steps.
        rates: the max_steps + 1 learning rates.
        test: options of the test.
        on_step: function called after each step. None: not called.

    Raises:
        ValueError: no learning rate lowered the loss.
    """
    losses: list[float] = []
    smoothed: list[float] = []
    average, best, stopped = 0.0, math.inf, "end"
    for k, loss in enumerate(found):
        average = test.smoothing * average + (1 - test.smoothing) * loss
        losses.append(loss)
        smoothed.append(average / (1 - test.smoothing ** (k + 1)))
        if on_step is not None:
            on_step(k, float(rates[k]), loss, smoothed[-1])
        if not math.isfinite(loss):
            stopped = "nan"
            break
        best = min(best, smoothed[-1] if test.best_of == "smoothed" else loss)
        if smoothed[-1] > best + (test.diverge_factor - 1) * abs(best):
            stopped = "diverged"
            break
    rates = rates[: len(losses)]
    result = LRFinderResult(
        rates, np.array(losses), np.array(smoothed), math.nan, math.nan, math.nan, stopped
    )
    return _with_suggestions(result, round(min(1 / (1 - test.smoothing), test.max_steps / 10)))


def _with_suggestions(curve: LRFinderResult, settled: int) -> LRFinderResult:
    """Return the curve with its three rates; steps before `settled` are ignored."""
    if not math.isfinite(curve.losses[0]):
        raise ValueError(
            f"the first loss is {curve.losses[0]}, before any update: check the data and the "
            "values of the model's variables"
        )
    rates = curve.rates
    smoothed = curve.smoothed[np.isfinite(curve.smoothed)]
    lowest = settled + int(np.argmin(smoothed[settled:])) if len(smoothed) > settled else 0
    part = slice(settled, lowest + 1)
    complete = curve.stopped == "end"
    if lowest <= settled or (complete and not _fell(curve.losses[part], smoothed[part])):
        raise ValueError(_no_descent(curve))
    half = max(settled // 2, 1)
    at = np.arange(settled, max(lowest - half, settled) + 1)
    before, after = np.maximum(at - half, 0), np.minimum(at + half, lowest)
    slopes = (smoothed[after] - smoothed[before]) / np.log(rates[after] / rates[before])
    goal = smoothed[settled] - DESCENT * (smoothed[settled] - smoothed[lowest])
    reached = settled + int(np.argmax(smoothed[part] <= goal))
    return curve._replace(
        steepest=float(rates[at[np.argmin(slopes)]]),
        tenth_of_minimum=float(rates[lowest] / 10),
        suggestion=float(rates[reached]),
    )


def _fell(losses: np.ndarray, smoothed: np.ndarray) -> bool:
    """Return whether the loss fell by more than the standard deviation of the loss of a batch.

    The deviation is estimated from differences of successive losses, on which the decrease has
    little influence.
    """
    return bool(smoothed[0] - smoothed[-1] > np.std(np.diff(losses)) / math.sqrt(2))


def _no_descent(curve: LRFinderResult) -> str:
    """Return the message for a curve on which no learning rate lowered the loss."""
    rates = curve.rates
    if curve.stopped == "end":
        return (
            f"between learning rates {rates[0]:.3g} and {rates[-1]:.3g} the loss fell by no more "
            "than batches differ: give a smaller start_lr, a larger end_lr or a larger batch_size"
        )
    end = "diverged" if curve.stopped == "diverged" else f"was {curve.losses[-1]}"
    return (
        f"the loss {end} at learning rate {rates[-1]:.3g}, step {len(rates) - 1}, and had not "
        "fallen before: give a smaller start_lr"
    )
