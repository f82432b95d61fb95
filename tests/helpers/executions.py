"""The ways to run a function: eagerly, as a graph, and compiled by XLA.

Example:
    @pytest.mark.parametrize("execution", EXECUTIONS)
    def test_the_norm_is_exact(execution):
        assert EXECUTIONS[execution](norm)(x) == 5

    @pytest.mark.parametrize("execution", soak_except("graph"))  # the others in `make soak`
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

import pytest
import tensorflow as tf

Execution: TypeAlias = Callable[[Callable[..., Any]], Callable[..., Any]]


def eager(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function itself."""
    return function


def graph(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function as a `tf.function`, traced as trainlib traces, without AutoGraph."""
    return tf.function(function, autograph=False)


def xla(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function compiled by XLA."""
    return tf.function(function, jit_compile=True, autograph=False)


EXECUTIONS: dict[str, Execution] = {"eager": eager, "graph": graph, "xla": xla}


def soak_except(*quick: Any, names: Iterable[Any] = EXECUTIONS) -> list[Any]:
    """Return parameters for `parametrize`: all names, those not in `quick` marked as soak."""
    return [name if name in quick else pytest.param(name, marks=pytest.mark.soak) for name in names]


WITHOUT_XLA = soak_except("eager", "graph")
"""Parameters for tests beside one with all executions: XLA, which compiles slowly, in soak."""
