"""Run an optimizer of trainlib on the test problem."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from trainlib.core.types import Optimizer, apply_updates
from trainlib.verify.problem import Arrays, Problem

RUNS = ("eager", "graph", "xla")


def run_optimizer(
    make: Callable[..., Optimizer],
    problem: Problem,
    run: str = "graph",
    read: Callable[[Any, Any], Any] | None = None,
) -> list[Arrays]:
    """Return the parameters after each step.

    Args:
        make: `(learning_rate) -> Optimizer`.
        problem: the test problem.
        run: "eager", "graph" or "xla". Default: "graph".
        read: `(params, state) -> params to compare`. Default: None, the parameters.
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
    steps = len(problem.noise)

    def step(params: Any, state: Any, noise: Any) -> Any:
        """Return the parameters, the state and what to compare after one step."""
        grads = {name: curvature[name] * w + noise[name] for name, w in params.items()}
        updates, state = optimizer.update(grads, state, params)
        params = apply_updates(params, updates)
        return params, state, read(params, state)

    def follow(params: Any, state: Any, noise: Any) -> Any:
        """Return what to compare after each step, stacked."""
        seen = {
            name: tf.TensorArray(w.dtype, steps, element_shape=w.shape)
            for name, w in read(params, state).items()
        }

        def one(k: Any, params: Any, state: Any, seen: Any) -> Any:
            now = tf.nest.map_structure(lambda z: z[k], noise)
            params, state, found = step(params, state, now)
            return k + 1, params, state, {name: seen[name].write(k, w) for name, w in found.items()}

        seen = tf.while_loop(lambda k, *_: k < steps, one, (0, params, state, seen))[-1]
        return {name: array.stack() for name, array in seen.items()}

    params = {name: tf.constant(w) for name, w in problem.start.items()}
    noise = {name: tf.constant(np.stack([row[name] for row in problem.noise])) for name in params}
    state = optimizer.init(params)
    if run != "eager":
        compiled: Any = tf.function(follow, jit_compile=run == "xla", autograph=False)
        compiled.get_concrete_function(params, state, noise)  # a first call counts as a retrace
        follow = compiled
    seen = {k: x.numpy() for k, x in follow(params, state, noise).items()}
    return [{name: x[i] for name, x in seen.items()} for i in range(steps)]
