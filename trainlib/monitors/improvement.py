"""Improvement: when a monitored result is better than the best so far."""

from __future__ import annotations

import math
from typing import NamedTuple

from trainlib.core.checks import check_choice, check_number
from trainlib.core.tree import float64
from trainlib.core.types import Tensor
from trainlib.monitors.base import as_number, rounded

MODES = ("auto", "min", "max")
DELTA_PLACES = ("metric", "best")
FIRSTS = ("number", "any", "worst")
DTYPES = ("float32", "float64")
FALLING = frozenset(
    "bce brier cce cosh crossentropy deviance divergence ece entropy error false hinge huber kld "
    "logcosh loss mae mape mse msle nll perplexity poisson rmse scce".split()
)
"""Words in the names of results that should fall."""
RISING = frozenset(
    "acc accuracy auc correlation f1 fbeta iou kappa miou precision r2 recall sensitivity "
    "specificity top true".split()
)
"""Words in the names of results that should rise."""


def direction(monitor: str) -> str:
    """Infer from the name of a result whether lower or higher values are better.

    The last word of the name that is known decides.

    Args:
        monitor: the name of the result, words joined by "_".

    Returns:
        "min" if lower is better, "max" if higher is.

    Raises:
        ValueError: the name contains no known word.

    Example:
        >>> from trainlib.monitors.improvement import direction
        >>> direction("val_loss"), direction("top_5_error"), direction("val_accuracy")
        ('min', 'min', 'max')
    """
    for word in reversed(monitor.lower().split("_")):
        if word in FALLING or word in RISING:
            return "min" if word in FALLING else "max"
    raise ValueError(
        f"cannot tell from the name {monitor!r} whether less or more is better: give mode='min' "
        "or mode='max'"
    )


def is_minimized(monitor: str, mode: str = "auto") -> bool:
    """Return whether lower values of a monitored result are better.

    Args:
        monitor: the name of the result.
        mode: "min", "max", or "auto", the default: as the name says.

    Raises:
        ValueError: the mode is "auto", and the name does not say.
    """
    return (direction(monitor) if mode == "auto" else mode) == "min"


class Improvement(NamedTuple):
    """Criterion by which a value counts as better; made by `improvement`.

    Attributes:
        sign: 1 if lower is better, -1 if higher is.
        min_delta, rel_delta, delta_at, first, compare_dtype: as in `improvement`.
    """

    sign: int
    min_delta: float
    rel_delta: float
    delta_at: str
    first: str
    compare_dtype: str

    def initial_best(self) -> Tensor:
        """Return the best before the first value: NaN, or the worst infinity."""
        return float64(self.sign * math.inf if self.first == "worst" else math.nan)

    def better(self, value: Tensor, reference: Tensor | float) -> Tensor:
        """Return whether a value is better than another; False if either is NaN."""
        v, bound = self.sign * value, (self.sign - self.rel_delta) * as_number(reference, value)
        if self.delta_at == "metric":
            v = v + self.min_delta
        else:
            bound = bound - self.min_delta
        return rounded(v, self.compare_dtype) < rounded(bound, self.compare_dtype)

    def accepts(self, value: Tensor, best: Tensor, is_first: Tensor) -> Tensor:
        """Return whether a value becomes the new best."""
        better = self.better(value, best)
        if self.first == "any":
            return better | is_first
        if self.first == "number":
            return better | ((best != best) & (value == value))  # the best is NaN
        return better


def improvement(
    monitor: str,
    mode: str = "auto",
    min_delta: float = 0.0,
    rel_delta: float = 0.0,
    delta_at: str = "metric",
    first: str = "number",
    compare_dtype: str = "float32",
) -> Improvement:
    """Make the criterion by which a result counts as better than the best so far.

    With mode "min":

        metric     v + min_delta < (1 - rel_delta) best
        best       v < (1 - rel_delta) best - min_delta

    With mode "max" the signs are reversed: `v - min_delta > (1 + rel_delta) best`. Both sides are
    computed in float64 and compared in `compare_dtype`.

    Args:
        monitor: the name of the result.
        mode: "min", "max", or "auto" to infer it from the name. Default: "auto".
        min_delta: smallest absolute improvement, at least 0. Default: 0.
        rel_delta: smallest improvement relative to the best, in [0, 1). Default: 0.
        delta_at: the side to which min_delta is added, "metric" or "best". Default: "metric".
        first: what becomes the first best. "number": the first value that is not NaN; "any": the
            first value, even NaN, which nothing improves on; "worst": a value better than infinity.
            Default: "number".
        compare_dtype: dtype of the comparison, "float32" or "float64". Default: "float32".

    Raises:
        ValueError, TypeError: an argument is out of range or of the wrong type, or mode is "auto"
            and the name contains no known word.
    """
    check_choice("mode", mode, MODES)
    check_number("min_delta", min_delta, at_least=0)
    check_number("rel_delta", rel_delta, at_least=0, below=1)
    check_choice("delta_at", delta_at, DELTA_PLACES)
    check_choice("first", first, FIRSTS)
    check_choice("compare_dtype", compare_dtype, DTYPES)
    sign = 1 if (direction(monitor) if mode == "auto" else mode) == "min" else -1
    return Improvement(sign, min_delta, rel_delta, delta_at, first, compare_dtype)
