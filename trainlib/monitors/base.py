"""The type of a monitor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from trainlib.core.tree import float64
from trainlib.core.types import State, Tensor


class Monitor(NamedTuple):
    """A pair of pure functions that follow a result.

    Attributes:
        monitor: the name of the result, such as "val_loss".
        init: `(learning_rate) -> state` of `reduce_on_plateau`, `(params) -> state` of
            `early_stop`.
        update: `(metric, state) -> state`; of `early_stop`, `(metric, state, params) -> state`.
    """

    monitor: str
    init: Callable[..., State]
    update: Callable[..., State]


def counter(x: int) -> Tensor:
    """Return an int64 scalar."""
    return tf.constant(x, tf.int64)


def where(condition: Tensor | np.bool_, x: Any, y: Any) -> Any:
    """Return `tf.where` of scalars; of numbers of NumPy x or y itself, which takes no kernel."""
    if isinstance(condition, np.bool_):
        return x if condition else y
    return tf.where(condition, x, y)


def as_number(x: float | Tensor, like: Tensor | np.float64) -> Any:
    """Return a number as a float64 of the same kind as another one: a tensor, or of NumPy."""
    return np.float64(x) if isinstance(like, np.generic) else float64(x)


def rounded(x: Tensor | np.float64, dtype: str) -> Any:
    """Return a number in a dtype."""
    return x.astype(dtype) if isinstance(x, np.generic) else tf.cast(x, dtype)
