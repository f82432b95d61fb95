"""Fixtures for losses and their gradients in every execution."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import pytest
import tensorflow as tf
from helpers.executions import EXECUTIONS, WITHOUT_XLA, Execution, eager

import trainlib.losses as losses

Function: TypeAlias = Callable[..., Any]


@pytest.fixture(params=WITHOUT_XLA)
def execution(request: pytest.FixtureRequest) -> Execution:
    """`execution(f)`: the function itself, as a graph, and in `make soak` compiled by XLA.

    tests/verify compiles every loss; a test that XLA always compiles has its own `execution`.
    """
    return EXECUTIONS[request.param]


@pytest.fixture(scope="session")
def values_and_gradients() -> Callable[..., list[np.ndarray]]:
    """`values_and_gradients(loss, y_true, y_pred, execution)`; by default eagerly.

    Return the losses, and the gradient of their sum with different weights.
    """

    def both(loss: Function, y_true: Any, y_pred: Any) -> tuple[Any, Any]:
        weights = np.linspace(0.5, 2, y_pred.shape.num_elements()).reshape(y_pred.shape)[..., 0]
        with tf.GradientTape() as tape:
            tape.watch(y_pred)
            values = loss(y_true, y_pred)
            total = tf.reduce_sum(tf.constant(weights, y_pred.dtype) * values)
        return values, tape.gradient(total, y_pred)

    def found(
        loss: Function, y_true: Any, y_pred: Any, execution: Execution = eager
    ) -> list[np.ndarray]:
        pair = execution(functools.partial(both, loss))(tf.constant(y_true), tf.constant(y_pred))
        return [x.numpy() for x in pair]

    return found


@pytest.fixture(scope="session")
def loss_by_name(
    values_and_gradients: Callable[..., list[np.ndarray]],
) -> Callable[..., list[np.ndarray]]:
    """`loss_by_name("huber", y_true, y_pred, execution, delta=0.5)`: the same by name."""

    def found(name: str, *arguments: Any, **options: Any) -> list[np.ndarray]:
        return values_and_gradients(functools.partial(getattr(losses, name), **options), *arguments)

    return found
