"""Run the schedules of Keras, Optax and PyTorch at each of the first 10,000 steps.

Optax gets its count as a floating number, because it computes in the dtype of the count. The rates
of PyTorch are read from an optimizer; they are Python numbers, float64 for any dtype.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

import trainlib.registry as registry
from trainlib.core.types import Schedule
from trainlib.verify.case import ORDINARY, FunctionCase, Rounding
from trainlib.verify.problem import Arrays

STEPS = 10_000
RATE = 0.1
SLOW = 1 - 2.0**-10
"""A decay factor per step that float32 represents exactly."""

NEAR_ZERO = Rounding(
    "in float32 the peers take differences of numbers near 1 where the rate comes near 0: an error "
    "of 1e-7 of the largest rate is 1e-4 of the smallest that is compared",
    {"float32": 3e-4},
)

PeerRates = Callable[..., Arrays]


def case(
    name: str,
    form: str,
    ours: Callable[[str], Schedule] | dict[str, Any],
    peers: dict[str, PeerRates],
    steps: np.ndarray | None = None,
    rounding: Rounding = ORDINARY,
) -> FunctionCase:
    """Make the case of a schedule, given by its arguments or made by a function of the dtype."""

    def make(dtype: str) -> Any:
        """Return the schedule of trainlib."""
        return (
            ours(dtype)
            if callable(ours)
            else registry.lookup("schedule", name)(**ours, dtype=dtype)
        )

    return FunctionCase(
        kind="schedule",
        name=name,
        form=form,
        inputs=lambda dtype: {"step": np.arange(STEPS) if steps is None else steps},
        ours=lambda dtype, step: {"rate": make(dtype)(step)},
        peers=peers,
        rounding=rounding,
    )


def in_keras(name: str, options: dict[str, Any], computed_in: str | None = None) -> PeerRates:
    """Return the rates of a schedule of Keras, which computes in the dtype of its arguments."""

    def rates(dtype: str, step: np.ndarray) -> Arrays:
        schedule = _of_keras(name, options, computed_in or dtype)
        # With a warm-up, Keras branches on the step, and takes one step at a time.
        branches = options.get("warmup_target") is not None
        steps = tf.constant(step)
        rate = tf.vectorized_map(schedule, steps) if branches else schedule(steps)
        return {"rate": np.asarray(rate).astype(dtype)}

    return rates


def in_keras_by_step(name: str, options: dict[str, Any]) -> PeerRates:
    """Return the rates of a Keras schedule in float64, step by step: vectors round differently."""

    def rates(dtype: str, step: np.ndarray) -> Arrays:
        schedule = _of_keras(name, options, "float64")
        return {"rate": np.array([schedule(tf.constant(k)) for k in step]).astype(dtype)}

    return rates


def _of_keras(name: str, options: dict[str, Any], dtype: str) -> Any:
    """Make a schedule of Keras whose arguments have a dtype."""
    import keras

    exact = np.float64 if dtype == "float64" else float

    def exactly(value: Any) -> Any:
        if isinstance(value, list):
            return [exactly(x) for x in value]
        return exact(value) if isinstance(value, float) else value

    numbers = {key: exactly(value) for key, value in options.items()}
    return getattr(keras.optimizers.schedules, name)(**numbers)


def in_optax(make: Callable[[Any], Any], by_step: bool = False) -> PeerRates:
    """Return the rates of a schedule of Optax.

    Args:
        make: a function of the package.
        by_step: whether to call it step by step: vectors and compiled code multiply by a rounded 1
            / n instead of dividing by n. Default: False.
    """

    def rates(dtype: str, step: np.ndarray) -> Arrays:
        import jax
        import optax

        with jax.enable_x64(dtype == "float64"):
            schedule, count = make(optax), step.astype(dtype)
            rate = [schedule(k) for k in count] if by_step else jax.vmap(schedule)(count)
            return {"rate": np.broadcast_to(np.asarray(rate, dtype), step.shape)}

    return rates


def in_torch(make: Callable[[Any, Any], Any], last: int = STEPS) -> PeerRates:
    """Return the rates of a scheduler of PyTorch, step by step.

    Args:
        make: a function of the module of schedulers and an optimizer.
        last: the last step for which the scheduler has a rate; the rate is constant afterwards.
    """

    def rates(dtype: str, step: np.ndarray) -> Arrays:
        import torch

        optimizer = torch.optim.SGD([torch.zeros(1)], lr=RATE)
        scheduler = make(torch.optim.lr_scheduler, optimizer)
        optimizer.step()
        found = []
        for k in step:
            found.append(optimizer.param_groups[0]["lr"])
            if k < last:
                scheduler.step()
        return {"rate": np.array(found, dtype)}

    return rates


def in_torch_by_number(make: Callable[[Any, Any], Any]) -> PeerRates:
    """Return the rates of a PyTorch scheduler that is given the step: its closed form."""

    def rates(dtype: str, step: np.ndarray) -> Arrays:
        import torch

        optimizer = torch.optim.SGD([torch.zeros(1)], lr=RATE)
        scheduler = make(torch.optim.lr_scheduler, optimizer)
        optimizer.step()
        found = []
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The epoch parameter", UserWarning)
            for k in step.tolist():
                scheduler.step(k)
                found.append(optimizer.param_groups[0]["lr"])
        return {"rate": np.array(found, dtype)}

    return rates


def in_numpy(equation: Callable[[np.ndarray], Any]) -> PeerRates:
    """Return the rates of a published equation of k."""
    return lambda dtype, step: {"rate": equation(step.astype(np.float64)).astype(dtype)}
