"""Cases of regularizers: the penalties and their gradients.

The factors are exact in float32, to which the constructors of Keras round them.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

import trainlib.regularizers as regularizers
from trainlib.verify.case import FunctionCase, Rounding
from trainlib.verify.problem import Arrays

SHAPES = {"dense": (4, 6), "square": (5, 5), "kernel": (2, 2, 3, 4), "bias": (4,), "scalar": ()}
MATRICES = {name: SHAPES[name] for name in ("dense", "square")}


def weights(
    dtype: str, shapes: Mapping[str, tuple[int, ...]] = SHAPES, zeros: bool = True
) -> Arrays:
    """Return weights; with `zeros`, some are exactly 0, where |w| has no derivative."""
    rng = np.random.default_rng(0)
    drawn = {name: rng.uniform(-1, 1, shape) for name, shape in shapes.items()}
    least = 0.1 if zeros else 0.0
    return {name: np.asarray(np.where(abs(w) < least, 0, w), dtype) for name, w in drawn.items()}


def ours(penalty: Callable[..., Any], dtype: str, **params: Any) -> dict[str, Any]:
    """Return the penalty of trainlib over all tensors, and its gradients."""
    with tf.GradientTape() as tape:
        tape.watch(params)
        total = penalty(params)
    gradients: dict[str, Any] = tape.gradient(total, params)
    return {"penalty": total} | gradients


def keras_penalty(name: str, options: dict[str, Any], dtype: str, **params: np.ndarray) -> Arrays:
    """Return the sum of a Keras regularizer over the tensors, and its gradients."""
    import keras

    penalty = getattr(keras.regularizers, name)(**options)
    for key, factor in options.items():
        if isinstance(factor, float):  # some are kept as float32 tensors
            setattr(penalty, key, np.asarray(factor, dtype)[()])
    with tf.GradientTape() as tape:
        tensors = {key: tf.constant(w) for key, w in params.items()}
        tape.watch(tensors)
        total = tf.add_n([penalty(w) for w in tensors.values()])
    return {"penalty": total.numpy()} | {
        key: gradient.numpy() for key, gradient in tape.gradient(total, tensors).items()
    }


def torch_penalty(l1: float, l2: float, dtype: str, **params: np.ndarray) -> Arrays:
    """Return PyTorch's sums of |w - 0| and (w - 0)^2, and their gradients."""
    import torch

    tensors = {key: torch.tensor(w, requires_grad=True) for key, w in params.items()}
    total = torch.zeros([], dtype=getattr(torch, dtype))
    for w in tensors.values():
        zero = torch.zeros_like(w)
        total = total + l1 * torch.nn.functional.l1_loss(w, zero, reduction="sum")
        total = total + l2 * torch.nn.functional.mse_loss(w, zero, reduction="sum")
    total.backward()
    return {"penalty": total.detach().numpy()} | {
        key: np.zeros(w.shape, dtype) if w.grad is None else w.grad.numpy()
        for key, w in tensors.items()
    }


def optax_penalty(l1: float, l2: float, dtype: str, **params: np.ndarray) -> Arrays:
    """Return Optax's norm of order 1 and l2_loss, w^2 / 2, over the tensors, and gradients."""
    import jax
    import optax

    def penalty(params: Any) -> Any:
        halves = jax.tree.map(lambda w: optax.losses.l2_loss(w).sum(), params)
        return l1 * optax.tree.norm(params, ord=1) + 2 * l2 * optax.tree.sum(halves)

    with jax.enable_x64(dtype == "float64"):
        total, gradients = jax.value_and_grad(penalty)(params)
        return {"penalty": np.asarray(total)} | {k: np.asarray(x) for k, x in gradients.items()}


def sums(name: str, keras_name: str, l1: float, l2: float) -> list[FunctionCase]:
    """Make the cases of a regularizer that sums over elements."""
    factors = {key: x for key, x in (("l1", l1), ("l2", l2)) if x}
    case = FunctionCase(
        kind="regularizer",
        name=name,
        form="",
        inputs=weights,
        ours=functools.partial(ours, getattr(regularizers, name)(**factors)),
        peers={
            "keras": functools.partial(keras_penalty, keras_name, factors),
            "torch": functools.partial(torch_penalty, l1, l2),
        },
    )
    without_zeros = case._replace(
        form="no weight of 0",
        inputs=functools.partial(weights, zeros=False),
        peers={"optax": functools.partial(optax_penalty, l1, l2)},
        needs={"optax": "optax.tree"},
        rounding=Rounding("where w = 0 the derivative of |w| is 1 in JAX"),
    )
    return [case, without_zeros]


def orthogonal(mode: str, form: str, change: Callable[[Arrays], Arrays]) -> FunctionCase:
    """Make the case of a mode on changed matrices."""
    return FunctionCase(
        kind="regularizer",
        name="orthogonal",
        form=form,
        inputs=lambda dtype: change(weights(dtype, MATRICES)),
        ours=functools.partial(ours, regularizers.orthogonal(2.0**-3, mode)),
        peers={
            "keras": functools.partial(
                keras_penalty, "OrthogonalRegularizer", {"factor": 2.0**-3, "mode": mode}
            )
        },
        needs={"keras": "keras.regularizers.OrthogonalRegularizer"},
        # Each element of the gradient is a difference of almost equal numbers: relative to the
        # largest, both are accurate to 1e-7.
        rounding=Rounding(
            "Keras accepts only matrices, and float64 only with a float64 factor; in float32 small "
            "elements of the gradient are cancellation errors in both",
            {"float32": 5e-5},
        ),
    )


def with_a_zero_row(params: Arrays) -> Arrays:
    """Return the matrices with zeros as their second row."""
    return {name: np.concatenate([w[:1], 0 * w[:1], w[2:]]) for name, w in params.items()}


CASES = [
    *sums("l1", "L1", 2.0**-7, 0.0),
    *sums("l2", "L2", 0.0, 2.0**-6),
    *sums("l1_l2", "L1L2", 2.0**-7, 2.0**-6),
    orthogonal("rows", "rows", lambda params: params),
    orthogonal("columns", "columns", lambda params: params),
    orthogonal("rows", "a row of zeros", with_a_zero_row),
    orthogonal("rows", "short rows", lambda params: {k: w * 2.0**-26 for k, w in params.items()}),
]
