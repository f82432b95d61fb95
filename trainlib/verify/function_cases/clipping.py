"""Cases of gradient clipping."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

import trainlib.transforms as transforms
from trainlib.core.types import Optimizer
from trainlib.verify.case import FunctionCase, Rounding
from trainlib.verify.problem import Arrays

SHAPES = {"dense": (5, 4), "kernel": (2, 2, 3, 4), "bias": (4,), "scalar": (), "zeros": (3,)}
BOUND = 1.1
INSIDE = 100.0


def gradients(dtype: str) -> Arrays:
    """Return gradients of sizes from 0 to 30; the last tensor is all 0."""
    rng = np.random.default_rng(0)
    scales = dict(zip(SHAPES, (1.0, 10.0, 0.1, 3.0, 0.0), strict=True))
    return {
        name: np.asarray(scales[name] * rng.uniform(-1, 1, shape), dtype)
        for name, shape in SHAPES.items()
    }


def nonfinite(*values: float) -> Callable[[str], Arrays]:
    """Return gradients: a tensor that holds these values, and an ordinary one."""
    return lambda dtype: {
        "bad": np.asarray(values, dtype),
        "good": np.asarray([0.5, -3.0, 0.0], dtype),
    }


def ours(transform: Optimizer, dtype: str, **grads: Any) -> dict[str, Any]:
    """Return the gradients after a transform of trainlib."""
    clipped: dict[str, Any] = transform.update(grads, (), None)[0]
    return clipped


def keras_clipped(argument: str, bound: float, dtype: str, **grads: np.ndarray) -> Arrays:
    """Return the gradients that an optimizer of Keras has clipped before its step."""
    import keras

    exact = np.asarray(bound, dtype)[()]
    optimizer = keras.optimizers.SGD(**{argument: exact})
    clipped = optimizer._clip_gradients([tf.constant(g) for g in grads.values()])
    return {name: g.numpy() for name, g in zip(grads, clipped, strict=True)}


def torch_by_value(bound: float, dtype: str, **grads: np.ndarray) -> Arrays:
    """Return the gradients after `torch.nn.utils.clip_grad_value_`."""
    import torch

    tensors = _torch_tensors(grads)
    torch.nn.utils.clip_grad_value_(list(tensors.values()), bound)
    return {name: w.grad.numpy() for name, w in tensors.items()}


def torch_by_norm(bound: float, each: bool, dtype: str, **grads: np.ndarray) -> Arrays:
    """Return the gradients that PyTorch clips by the norm of each or of all; see TORCH_EPSILON."""
    import torch

    tensors = _torch_tensors(grads)
    groups = [[w] for w in tensors.values()] if each else [list(tensors.values())]
    for group in groups:
        norm = torch.nn.utils.get_total_norm([w.grad for w in group])
        torch.nn.utils.clip_grads_with_norm_(group, bound, norm - 1e-6)
    return {name: w.grad.numpy() for name, w in tensors.items()}


def _torch_tensors(grads: Arrays) -> dict[str, Any]:
    """Return PyTorch parameters with these gradients."""
    import torch

    tensors = {}
    for name, g in grads.items():
        tensors[name] = torch.zeros(g.shape, dtype=getattr(torch, str(g.dtype)))
        tensors[name].grad = torch.tensor(g)
    return tensors


def optax_clipped(
    name: str, options: tuple[float, ...], each: bool, dtype: str, **grads: np.ndarray
) -> Arrays:
    """Return the gradients after a transformation of Optax, applied to each or to all together."""
    import jax
    import optax

    with jax.enable_x64(dtype == "float64"):
        transform = getattr(optax, name)(*options)
        groups = [{key: g} for key, g in grads.items()] if each else [grads]
        clipped = {}
        for group in groups:
            group = {key: jax.numpy.asarray(g) for key, g in group.items()}
            clipped.update(transform.update(group, transform.init(group))[0])
        return {key: np.asarray(g) for key, g in clipped.items()}


TORCH_EPSILON = Rounding("PyTorch adds 1e-6 to the norm: it is given a norm of 1e-6 less")


def by_value(bound: float, form: str) -> FunctionCase:
    """Make the case of clipping by value."""
    return FunctionCase(
        kind="clipping",
        name="clip_by_value",
        form=form,
        inputs=gradients,
        ours=functools.partial(ours, transforms.clip_by_value(bound)),
        peers={
            "keras": functools.partial(keras_clipped, "clipvalue", bound),
            "torch": functools.partial(torch_by_value, bound),
            "optax": functools.partial(optax_clipped, "clip", (bound,), False),
        },
    )


def by_norm(name: str, argument: str, bound: float, form: str) -> FunctionCase:
    """Make the case of clipping by the norm of each tensor or of all."""
    each = argument == "clipnorm"
    return FunctionCase(
        kind="clipping",
        name=name,
        form=form,
        inputs=gradients,
        ours=functools.partial(ours, getattr(transforms, name)(bound)),
        peers={
            "keras": functools.partial(keras_clipped, argument, bound),
            "torch": functools.partial(torch_by_norm, bound, each),
            "optax": functools.partial(optax_clipped, "clip_by_global_norm", (bound,), each),
        },
        needs={"torch": "torch.nn.utils.clip_grads_with_norm_"},
        rounding=TORCH_EPSILON,
    )


def weights_and_gradients(dtype: str) -> Arrays:
    """Return weights `w_` and gradients `g_` by shape; some units of the weights are 0."""
    rng = np.random.default_rng(0)
    drawn: Arrays = {}
    for name, shape in SHAPES.items():
        w, g = rng.uniform(-1, 1, shape), rng.uniform(-1, 1, shape)
        if shape:
            w[..., 0], g[..., 1] = 0, g[..., 1] * 1e-3
        drawn |= {f"w_{name}": np.asarray(w, dtype), f"g_{name}": np.asarray(g, dtype)}
    return drawn


def _parted(inputs: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Split the inputs into gradients and weights by name."""
    g, w = ({k[2:]: x for k, x in inputs.items() if k[0] == kind} for kind in "gw")
    return g, w


def our_adaptive(clipping: float, eps: float, dtype: str, **inputs: Any) -> dict[str, Any]:
    """Return the gradients after `adaptive_clip`."""
    grads, params = _parted(inputs)
    clipped: dict[str, Any] = transforms.adaptive_clip(clipping, eps).update(grads, (), params)[0]
    return clipped


def optax_adaptive(clipping: float, eps: float, dtype: str, **inputs: np.ndarray) -> Arrays:
    """Return the gradients after Optax's `adaptive_grad_clip`."""
    import jax
    import optax

    grads, params = _parted(inputs)
    with jax.enable_x64(dtype == "float64"):
        grads, params = jax.tree.map(jax.numpy.asarray, (grads, params))
        transform = optax.adaptive_grad_clip(clipping, eps)
        clipped = transform.update(grads, transform.init(params), params)[0]
        return {name: np.asarray(g) for name, g in clipped.items()}


def adaptive(clipping: float, eps: float, form: str) -> FunctionCase:
    """Make the case of adaptive clipping."""
    return FunctionCase(
        kind="clipping",
        name="adaptive_clip",
        form=form,
        inputs=weights_and_gradients,
        ours=functools.partial(our_adaptive, clipping, eps),
        peers={"optax": functools.partial(optax_adaptive, clipping, eps)},
    )


def non_finite_with_keras(name: str, argument: str, form: str, *values: float) -> FunctionCase:
    """Make a case of values that are not finite, which Keras treats in the same way."""
    return FunctionCase(
        kind="clipping",
        name=name,
        form=form,
        inputs=nonfinite(*values),
        ours=functools.partial(ours, getattr(transforms, name)(BOUND)),
        peers={"keras": functools.partial(keras_clipped, argument, BOUND)},
    )


NAN, INF = float("nan"), float("inf")
CASES = [
    by_value(BOUND, ""),
    by_value(INSIDE, "within the bound"),
    by_norm("clip_by_norm", "clipnorm", BOUND, ""),
    by_norm("clip_by_norm", "clipnorm", INSIDE, "within the bound"),
    by_norm("clip_by_global_norm", "global_clipnorm", BOUND, ""),
    by_norm("clip_by_global_norm", "global_clipnorm", INSIDE, "within the bound"),
    non_finite_with_keras("clip_by_value", "clipvalue", "not finite", NAN, INF, -INF),
    non_finite_with_keras("clip_by_norm", "clipnorm", "a NaN", NAN, 1.0, 0.0),
    non_finite_with_keras("clip_by_global_norm", "global_clipnorm", "a NaN", NAN, 1.0, 0.0),
    non_finite_with_keras("clip_by_global_norm", "global_clipnorm", "an infinity", INF, 1.0, 0.0),
    adaptive(0.01, 1e-3, ""),
    adaptive(0.5, 0.1, "half the weights"),
]
