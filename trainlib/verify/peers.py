"""Run the optimizers of Keras, PyTorch and Optax on the test problem.

The peers get their hyperparameters in a form that they do not round: Keras converts Python floats
to float32 even for float64 variables, so it gets `np.float64`; learning rates are set step by step.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from trainlib.verify.problem import Arrays, Problem

PEERS = ("keras", "torch", "optax")


def missing_reason(peer: str, needs: str = "") -> str:
    """Return why a peer cannot be run here; "" if it can.

    Args:
        peer: a package.
        needs: the dotted name that it must have, such as "keras.optimizers.Muon"; "" for none.
    """
    if importlib.util.find_spec(peer) is None:
        return f"{peer} is not installed: pip install {peer}"
    module, _, name = needs.rpartition(".")
    if name and not hasattr(importlib.import_module(module), name):
        return f"{peer} {importlib.import_module(peer).__version__} does not have {needs}"
    return ""


def run_peer(
    peer: str,
    name: str,
    options: dict[str, Any],
    problem: Problem,
    read: Callable[..., Any] | None = None,
) -> list[Arrays]:
    """Return the parameters of a peer after each step.

    Args:
        peer: one of PEERS.
        name: name of the optimizer: a class of Keras or PyTorch, a function of Optax.
        options: keyword arguments of the optimizer, without the learning rate.
        problem: the test problem.
        read: what to compare instead of the parameters: for Keras and PyTorch `(optimizer,
            params)`, for Optax `(state, params)`, to a dict of arrays. Default: None.
    """
    return {"keras": _run_keras, "torch": _run_torch, "optax": _run_optax}[peer](
        name, options, problem, read
    )


def _run_keras(
    name: str, options: dict[str, Any], problem: Problem, read: Callable[..., Any] | None
) -> list[Arrays]:
    """Return the parameters of an optimizer of Keras after each step."""
    import keras
    import tensorflow as tf

    dtype = next(iter(problem.start.values())).dtype.name
    exact = np.float64 if dtype == "float64" else float
    rates = tf.constant(problem.rates)

    class Rates(keras.optimizers.schedules.LearningRateSchedule):  # type: ignore[misc]
        def __call__(self, step: Any) -> Any:
            return tf.cast(tf.gather(rates, tf.cast(step, tf.int32)), dtype)

    with floatx(dtype):
        variables = {k: keras.Variable(w, dtype=dtype, name=k) for k, w in problem.start.items()}
        numbers = {
            k: exact(x) if isinstance(x, float) and k != "momentum" else x
            for k, x in options.items()
        }
        optimizer = getattr(keras.optimizers, name)(learning_rate=Rates(), **numbers)
        optimizer.build(list(variables.values()))
        curvature = {k: tf.constant(h) for k, h in problem.curvature.items()}

        def step(row: Any) -> None:
            grads = [curvature[k] * v.value + row[k] for k, v in variables.items()]
            optimizer.apply(grads, list(variables.values()))

        # A float64 number times a variable of Keras cannot be traced.
        apply = step if exact is np.float64 else tf.function(step, autograph=False)
        path = []
        for row in problem.noise:
            apply({k: tf.constant(z) for k, z in row.items()})
            seen = variables if read is None else read(optimizer, variables)
            path.append({k: np.array(v) for k, v in seen.items()})
    return path


def _run_torch(
    name: str, options: dict[str, Any], problem: Problem, read: Callable[..., Any] | None
) -> list[Arrays]:
    """Return the parameters of an optimizer of PyTorch after each step."""
    import torch

    before = torch.get_default_dtype()
    torch.set_default_dtype(getattr(torch, next(iter(problem.start.values())).dtype.name))
    try:
        params = {k: torch.tensor(w) for k, w in problem.start.items()}
        optimizer = getattr(torch.optim, name)(
            list(params.values()), lr=float(problem.rates[0]), **options
        )
        path = []
        for rate, row in zip(problem.rates, problem.noise, strict=True):
            for group in optimizer.param_groups:
                group["lr"] = float(rate)
            for k, w in params.items():
                w.grad = torch.tensor(problem.curvature[k]) * w + torch.tensor(row[k])
            optimizer.step()
            seen = params if read is None else read(optimizer, params)
            path.append({k: np.array(w.detach().numpy()) for k, w in seen.items()})
    finally:
        torch.set_default_dtype(before)
    return path


def _run_optax(
    name: str, options: dict[str, Any], problem: Problem, read: Callable[..., Any] | None
) -> list[Arrays]:
    """Return the parameters of an optimizer of Optax after each step."""
    import jax
    import optax

    wide = next(iter(problem.start.values())).dtype == np.float64
    with jax.enable_x64(wide):
        rates = jax.numpy.asarray(problem.rates, "float64" if wide else "float32")
        make = getattr(optax, name, None) or getattr(optax.contrib, name)
        optimizer = make(learning_rate=lambda k: rates[k], **options)
        curvature = {k: jax.numpy.asarray(h) for k, h in problem.curvature.items()}

        def step(params: Any, state: Any, noise: Any) -> Any:
            grads = {k: curvature[k] * w + noise[k] for k, w in params.items()}
            updates, state = optimizer.update(grads, state, params)
            return optax.apply_updates(params, updates), state

        compiled = jax.jit(step)
        params = {k: jax.numpy.asarray(w) for k, w in problem.start.items()}
        state, path = optimizer.init(params), []
        for row in problem.noise:
            params, state = compiled(params, state, row)
            seen = params if read is None else read(state, params)
            path.append({k: np.array(w) for k, w in seen.items()})
    return path


@contextlib.contextmanager
def floatx(dtype: str) -> Iterator[None]:
    """Set Keras's floatx within a context.

    Some optimizers compute factors in it, and most metrics keep their sums in it, whatever their
    dtype.
    """
    import keras

    before = keras.config.floatx()
    keras.config.set_floatx(dtype)
    try:
        yield
    finally:
        keras.config.set_floatx(before)
