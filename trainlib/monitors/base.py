"""The type of a monitor."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

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
