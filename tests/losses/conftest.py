"""Losses and their slopes, in every way of running them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import pytest
import tensorflow as tf

import trainlib.losses as losses

Function: TypeAlias = Callable[..., Any]
RUNS: dict[str, Function] = {
    "eager": lambda f: f,
    "graph": lambda f: tf.function(f),
    "xla": lambda f: tf.function(f, jit_compile=True),
}


@pytest.fixture(params=RUNS)
def run(request: pytest.FixtureRequest) -> Function:
    """`run(f)`: the function as it is, as a graph, and compiled by XLA."""
    return RUNS[request.param]


@pytest.fixture(scope="session")
def values_and_slopes() -> Callable[..., list[np.ndarray]]:
    """`values_and_slopes(loss, y_true, y_pred, run)`; eagerly, unless `run` is given.

    The losses, and the gradient of their sum, each times another weight.
    """

    def both(loss: Function, y_true: Any, y_pred: Any) -> tuple[Any, Any]:
        weights = np.linspace(0.5, 2, y_pred.shape.num_elements()).reshape(y_pred.shape)[..., 0]
        with tf.GradientTape() as tape:
            tape.watch(y_pred)
            values = loss(y_true, y_pred)
            total = tf.reduce_sum(tf.constant(weights, y_pred.dtype) * values)
        return values, tape.gradient(total, y_pred)

    def found(
        loss: Function, y_true: Any, y_pred: Any, run: Function = RUNS["eager"]
    ) -> list[np.ndarray]:
        pair = run(functools.partial(both, loss))(tf.constant(y_true), tf.constant(y_pred))
        return [x.numpy() for x in pair]

    return found


@pytest.fixture(scope="session")
def of_ours(
    values_and_slopes: Callable[..., list[np.ndarray]],
) -> Callable[..., list[np.ndarray]]:
    """`of_ours("huber", y_true, y_pred, run, delta=0.5)`: `values_and_slopes` of a loss of ours."""

    def found(name: str, *arguments: Any, **options: Any) -> list[np.ndarray]:
        return values_and_slopes(functools.partial(getattr(losses, name), **options), *arguments)

    return found
