"""Improvement: when a monitored result is better than the best so far.

With rising results and their deltas turned round, all is about falling ones; r: rel_delta,
d: min_delta.

    metric      v + d < (1 - r) best
    best        v < (1 - r) best - d

Both sides are computed in float64 and compared in compare_dtype.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import tensorflow as tf

from trainlib.core.checks import check_choice, check_number
from trainlib.core.tree import float64
from trainlib.core.types import Tensor

MODES = ("auto", "min", "max")
DELTA_PLACES = ("metric", "best")
FIRSTS = ("number", "any", "worst")
DTYPES = ("float32", "float64")
FALLING = frozenset(
    "cosh crossentropy deviance divergence error hinge huber loss mae mape mse msle perplexity "
    "poisson rmse".split()
)
"""Words of the names of results of which less is better."""
RISING = frozenset(
    "acc accuracy auc f1 fbeta iou kappa precision r2 recall sensitivity specificity top".split()
)
"""Words of the names of results of which more is better."""


def direction(monitor: str) -> str:
    """Whether less or more of a result is better, "min" or "max", by the last word that tells.

        direction("val_loss") == "min",  direction("top_5_error") == "min"

    Args:
        monitor: the name of the result, words joined by "_".

    Raises:
        ValueError: a name without such a word.
    """
    for word in reversed(monitor.lower().split("_")):
        if word in FALLING or word in RISING:
            return "min" if word in FALLING else "max"
    raise ValueError(
        f"cannot tell from the name {monitor!r} whether less or more is better: give mode='min' "
        "or mode='max'"
    )


class Improvement(NamedTuple):
    """When a value is better. sign: 1 where less is better, -1 where more is."""

    sign: int
    min_delta: float
    rel_delta: float
    delta_at: str
    first: str
    compare_dtype: str

    def no_best(self) -> Tensor:
        """The best before there is one: NaN, or the worst of all."""
        return float64(self.sign * math.inf if self.first == "worst" else math.nan)

    def better(self, value: Tensor, reference: Tensor | float) -> Tensor:
        """Whether a value is better than another; a NaN is not, nor is anything than a NaN."""
        v, bound = self.sign * value, (self.sign - self.rel_delta) * float64(reference)
        if self.delta_at == "metric":
            v = v + self.min_delta
        else:
            bound = bound - self.min_delta
        return tf.cast(v, self.compare_dtype) < tf.cast(bound, self.compare_dtype)

    def accepts(self, value: Tensor, best: Tensor, is_first: Tensor) -> Tensor:
        """Whether a value is the new best."""
        better = self.better(value, best)
        if self.first == "any":
            return better | is_first
        if self.first == "number":
            return better | (tf.math.is_nan(best) & ~tf.math.is_nan(value))
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
    """When a result is better than the best so far.

        metric     v + min_delta < (1 - rel_delta) best
        best       v < (1 - rel_delta) best - min_delta

    and with mode "max", `v - min_delta > (1 + rel_delta) best` and so on.

    Args:
        monitor: the name of the result.
        mode: "min", less is better; "max", more is; "auto", as `direction` tells by the name.
        min_delta: what an improvement is at least, at least 0.
        rel_delta: the same as a share of the best, in [0, 1).
        delta_at: "metric" or "best": the side on which min_delta is added.
        first: the first best: "number", the first value that is no NaN; "any", the first value,
            a NaN too, after which nothing is better; "worst", one better than infinity.
        compare_dtype: "float32" or "float64", in which both sides are compared: what is one
            number in float32 is no improvement there.

    Raises:
        ValueError, TypeError: an argument out of its range, or a name that tells no direction.
    """
    check_choice("mode", mode, MODES)
    check_number("min_delta", min_delta, at_least=0)
    check_number("rel_delta", rel_delta, at_least=0, below=1)
    check_choice("delta_at", delta_at, DELTA_PLACES)
    check_choice("first", first, FIRSTS)
    check_choice("compare_dtype", compare_dtype, DTYPES)
    sign = 1 if (direction(monitor) if mode == "auto" else mode) == "min" else -1
    return Improvement(sign, min_delta, rel_delta, delta_at, first, compare_dtype)
