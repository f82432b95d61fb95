"""Fixtures for the transforms: the problem of `trainlib.verify`, and Optax on it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from trainlib.verify.problem import Arrays, Problem, make_problem


@pytest.fixture(scope="session")
def problem() -> Problem:
    """Return 30 steps of three parameters, in float64 at a constant learning rate."""
    made = make_problem(30, shapes={"scalar": (), "vector": (5,), "wide": (3, 6)})
    return made._replace(rates=np.full_like(made.rates, 2.0**-6))


@pytest.fixture(scope="session")
def run_optax() -> Callable[..., list[Arrays]]:
    """Return `(make, problem) -> trajectory`, with `make(optax)` a transformation of Optax."""
    pytest.importorskip("optax", reason="Optax is not installed")
    import jax
    import optax

    def run(make: Callable[[Any], Any], problem: Problem) -> list[Arrays]:
        with jax.enable_x64(True):
            optimizer = make(optax)
            params = {name: jax.numpy.asarray(w) for name, w in problem.start.items()}

            @jax.jit
            def step(params: Any, state: Any, noise: Any) -> Any:
                grads = {k: problem.curvature[k] * w + noise[k] for k, w in params.items()}
                updates, state = optimizer.update(grads, state, params)
                return optax.apply_updates(params, updates), state

            state, path = optimizer.init(params), []
            for row in problem.noise:
                params, state = step(params, state, row)
                path.append({name: np.array(w) for name, w in params.items()})
            return path

    return run
