"""The trajectory of one of trainlib's rules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from trainlib.base import Optimizer, apply_updates
from trainlib.verify.problem import Arrays, Problem

RUNS = ("eager", "graph", "xla")


def run_ours(
    make: Callable[..., Optimizer],
    problem: Problem,
    run: str = "graph",
    read: Callable[[Any, Any], Any] | None = None,
) -> list[Arrays]:
    """The parameters after each step.

    Args:
        make: `(learning_rate) -> Optimizer`.
        problem: what to run on.
        run: "eager", "graph" or "xla".
        read: `(params, state) -> params to compare`, where those are not the parameters.
    """
    dtype = next(iter(problem.start.values())).dtype
    rates = tf.constant(problem.rates)
    optimizer = make(
        learning_rate=lambda k: tf.cast(
            tf.gather(rates, tf.minimum(k, len(problem.rates) - 1)), dtype
        )
    )
    curvature = {name: tf.constant(h) for name, h in problem.curvature.items()}
    read = read or (lambda params, state: params)

    def step(params: Any, state: Any, noise: Any) -> Any:
        grads = {name: curvature[name] * w + noise[name] for name, w in params.items()}
        updates, state = optimizer.update(grads, state, params)
        params = apply_updates(params, updates)
        return params, state, read(params, state)

    if run != "eager":
        step = tf.function(step, jit_compile=run == "xla", autograph=False)
    params = {name: tf.constant(w) for name, w in problem.start.items()}
    state, path = optimizer.init(params), []
    for row in problem.noise:
        params, state, seen = step(params, state, {k: tf.constant(z) for k, z in row.items()})
        path.append({name: np.asarray(w) for name, w in seen.items()})
    return path
