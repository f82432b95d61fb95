"""Descents: the parameters after each step of an optimizer, or of an equation in NumPy."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

import trainlib as tl
from helpers.executions import EXECUTIONS


def descent(tx, params, rows, grads_at, execution):
    """Return the parameters after each step of an optimizer, by name.

    Args:
        tx: the optimizer.
        params: initial arrays by name.
        rows: noise of each step, arrays by name.
        grads_at: function of the parameters and the noise of a step that returns the gradients.
        execution: a name in `EXECUTIONS`.
    """

    @EXECUTIONS[execution]
    def step(params, state, row):
        updates, state = tx.update(grads_at(params, row), state, params)
        return tl.apply_updates(params, updates), state

    params = {k: tf.constant(w) for k, w in params.items()}
    state, path = tx.init(params), []
    for row in rows:
        params, state = step(params, state, {k: tf.constant(x) for k, x in row.items()})
        path.append({k: w.numpy() for k, w in params.items()})
    return path


def numpy_descent(problem, equation):
    """Return the parameters after each step of an equation with two slots that start at 0.

    Args:
        problem: as `make_problem` returns it.
        equation: `(g, w, m, v, rate, t) -> (w, m, v)` on NumPy arrays, t from 1.
    """
    w = dict(problem.start)
    m, v = ({k: np.zeros_like(x) for k, x in w.items()} for _ in range(2))
    path = []
    for t, (rate, noise) in enumerate(zip(problem.rates, problem.noise, strict=True), start=1):
        for k in w:
            g = problem.curvature[k] * w[k] + noise[k]
            w[k], m[k], v[k] = equation(g, w[k], m[k], v[k], rate, t)
        path.append(dict(w))
    return path
