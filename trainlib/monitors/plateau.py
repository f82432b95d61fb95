"""Reduce the learning rate when a result stops improving."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from trainlib.core.checks import check_choice, check_integer, check_number
from trainlib.core.conventions import BY_CONVENTION, conventions
from trainlib.core.tree import float64
from trainlib.core.types import Tensor
from trainlib.monitors.base import Monitor, counter
from trainlib.monitors.improvement import DTYPES, improvement

PATIENCE_RULES = ("ge", "gt")
COOLDOWN_RULES = ("short", "full")


class PlateauState(NamedTuple):
    """State of `reduce_on_plateau`.

    Attributes:
        epoch: epochs seen, int64 [].
        best: the best result, float64 []; NaN or an infinity before there is one.
        wait: epochs since the last improvement, reduction or cooldown, int64 [].
        cooldown: epochs of cooldown that are left, int64 [].
        learning_rate: the rate for the next epoch, [] in `rate_dtype`.
    """

    epoch: Tensor
    best: Tensor
    wait: Tensor
    cooldown: Tensor
    learning_rate: Tensor


_KERAS = {
    "min_delta": 1e-4,
    "rel_delta": 0.0,
    "delta_at": "metric",
    "patience_rule": "ge",
    "cooldown_rule": "short",
    "first": "number",
    "eps": 0.0,
    "compare_dtype": "float32",
    "rate_dtype": "float32",
}
_OPTAX = _KERAS | {
    "min_delta": 0.0,
    "rel_delta": 1e-4,
    "delta_at": "best",
    "cooldown_rule": "full",
    "first": "worst",
    "compare_dtype": "float64",
    "rate_dtype": "float64",
}
_TORCH = _OPTAX | {"patience_rule": "gt", "eps": 1e-8}


@conventions(keras=_KERAS, torch=_TORCH, optax=_OPTAX)
def reduce_on_plateau(
    monitor: str = "val_loss",
    factor: float = 0.1,
    patience: int = 10,
    mode: str = "auto",
    min_delta: float = BY_CONVENTION,
    cooldown: int = 0,
    min_lr: float = 0.0,
    *,
    rel_delta: float = BY_CONVENTION,
    delta_at: str = BY_CONVENTION,
    patience_rule: str = BY_CONVENTION,
    cooldown_rule: str = BY_CONVENTION,
    first: str = BY_CONVENTION,
    eps: float = BY_CONVENTION,
    compare_dtype: str = BY_CONVENTION,
    rate_dtype: str = BY_CONVENTION,
    convention: str = "keras",
) -> Monitor:
    """Reduce the learning rate when a result stops improving.

        wait = 0 if v is the new best or during a cooldown, else wait + 1
        ge     when wait = max(patience, 1):   eta = max(factor eta, min_lr), wait = 0
        gt     when wait = patience + 1:       the same

    Args:
        monitor: the name of the result. Default: "val_loss".
        factor: multiplies the learning rate, in (0, 1). Default: 0.1.
        patience: epochs without improvement before the rate is reduced, at least 0. Default: 10.
        mode: "min" if lower is better, "max" if higher is, "auto" to infer it from the name.
            Default: "auto".
        min_delta: smallest absolute improvement, at least 0. Default: 1e-4 (keras), 0 (torch,
            optax).
        cooldown: epochs after a reduction that do not count towards patience, at least 0. Default:
            0.
        min_lr: lower bound of the learning rate, at least 0. Default: 0.
        rel_delta: smallest improvement relative to the best, in [0, 1). Default: 0 (keras), 1e-4
            (torch, optax).
        delta_at: the side of the comparison to which min_delta is added, "metric" or "best".
            Default: "metric" (keras), "best" (torch, optax).
        patience_rule: whether the rate is reduced in epoch `patience` without improvement ("ge") or
            in the one after ("gt"). Default: "ge" (keras, optax), "gt" (torch).
        cooldown_rule: whether the last epoch of a cooldown counts towards patience ("short") or not
            ("full"). Default: "short" (keras), "full" (torch, optax).
        first: what becomes the first best. "number": the first value that is not NaN; "any": the
            first value, even NaN, which nothing improves on; "worst": a value better than infinity.
            Default: "number" (keras), "worst" (torch, optax).
        eps: smallest change of the rate that is made, exclusive, at least 0. Default: 0 (keras,
            optax), 1e-8 (torch).
        compare_dtype: dtype in which results are compared, "float32" or "float64". Default:
            "float32" (keras), "float64" (torch, optax).
        rate_dtype: dtype of the learning rate, "float32" or "float64". Default: "float32" (keras),
            "float64" (torch, optax).
        convention: the library whose defaults and behaviour to use, "keras", "torch" or "optax".
            Default: "keras".

    Returns:
        A `Monitor`. `init(learning_rate)` returns the first `PlateauState`, and
        `update(metric, state)` the next one; `state.learning_rate` is the rate to use.

    Raises:
        ValueError, TypeError: an argument is out of range or of the wrong type, or mode is "auto"
            and the name contains no known word.

    Example:
        >>> monitor = tl.reduce_on_plateau("val_loss", factor=0.5, patience=2)
        >>> state = monitor.init(0.1)
        >>> for val_loss in (1.0, 0.8, 0.9, 0.85):
        ...     state = monitor.update(val_loss, state)
        >>> print(f"{float(state.learning_rate):.2f}")
        0.05

    Differences:
        Keras: a NaN in the first epoch stays the best forever; that is first="any".
        Optax: with patience 0 the rate also falls with each improvement, a rate below min_scale is
            raised to it, and the results of several calls can be averaged.
    """
    is_better = improvement(monitor, mode, min_delta, rel_delta, delta_at, first, compare_dtype)
    check_number("factor", factor, above=0, below=1)
    check_integer("patience", patience, at_least=0)
    check_integer("cooldown", cooldown, at_least=0)
    check_number("min_lr", min_lr, at_least=0)
    check_number("eps", eps, at_least=0)
    check_choice("patience_rule", patience_rule, PATIENCE_RULES)
    check_choice("cooldown_rule", cooldown_rule, COOLDOWN_RULES)
    check_choice("rate_dtype", rate_dtype, DTYPES)
    limit = max(patience, 1) if patience_rule == "ge" else patience + 1
    least = float(np.dtype(rate_dtype).type(min_lr))

    def init(learning_rate: float | Tensor) -> PlateauState:
        check_number("learning_rate", learning_rate, at_least=0)
        rate = tf.cast(float64(learning_rate), rate_dtype)
        return PlateauState(counter(0), is_better.initial_best(), counter(0), counter(0), rate)

    def update(metric: float | Tensor, state: PlateauState) -> PlateauState:
        v, rate = float64(metric), float64(state.learning_rate)
        improved = is_better.accepts(v, state.best, state.epoch == 0)
        left = tf.maximum(state.cooldown - 1, 0)
        cooling = (left if cooldown_rule == "short" else state.cooldown) > 0
        wait = tf.where(improved | cooling, counter(0), state.wait + 1)

        lower = tf.maximum(factor * rate, min_lr)
        reduced = (wait >= limit) & (rate > least) & (rate - lower > eps)
        return PlateauState(
            state.epoch + 1,
            tf.where(improved, v, state.best),
            tf.where(reduced, counter(0), wait),
            tf.where(reduced, counter(cooldown), left),
            tf.where(reduced, tf.cast(lower, rate_dtype), state.learning_rate),
        )

    return Monitor(monitor, init, update)
