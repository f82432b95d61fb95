"""A function of (y_true, y_pred) and its gradient with respect to y_pred."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from helpers.executions import Execution


def with_gradient(function: Callable[[Any, Any], Any], execution: Execution) -> Callable[..., Any]:
    """Return `(y_true, y_pred) -> (values, gradient of their sum with respect to y_pred)`."""

    def both(y_true: Any, y_pred: Any) -> tuple[Any, Any]:
        with tf.GradientTape() as tape:
            tape.watch(y_pred)
            values = function(y_true, y_pred)
        return values, tape.gradient(values, y_pred)

    return execution(both)
