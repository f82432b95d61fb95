"""Cases of constraints, with Keras's epsilon and as exact projections."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np

import trainlib.constraints as constraints
from trainlib.verify.case import FunctionCase, Rounding
from trainlib.verify.problem import Arrays

KERAS_NAMES = {
    "max_norm": "MaxNorm",
    "min_max_norm": "MinMaxNorm",
    "unit_norm": "UnitNorm",
    "non_neg": "NonNeg",
}
DENSE = {"dense": (6, 5), "bias": (5,)}
KERNELS = {"kernel": (2, 3, 4, 5)}


def weights(dtype: str, shapes: Mapping[str, tuple[int, ...]]) -> Arrays:
    """Return weights whose vectors, by the last axis, have norms of 0, about 0.1, 1, 3 and 10."""
    rng = np.random.default_rng(0)
    sizes = np.array([0.0, 0.1, 1.0, 3.0, 10.0])
    inputs = {}
    for name, shape in shapes.items():
        w = rng.uniform(-1, 1, shape)
        per_vector = max(w.size // sizes.size, 1) ** 0.5
        inputs[name] = np.asarray(w * sizes / (0.6 * per_vector), dtype)
    return inputs


def ours(constraint: constraints.Constraint, dtype: str, **params: Any) -> dict[str, Any]:
    """Apply a constraint of trainlib to each tensor."""
    return {name: constraint(w) for name, w in params.items()}


def keras_constraint(
    name: str, options: dict[str, Any], dtype: str, **params: np.ndarray
) -> Arrays:
    """Apply a constraint of Keras to each tensor; NumPy options keep float64."""
    import keras

    exact = {
        key: np.asarray(x, dtype)[()] if isinstance(x, float) else x for key, x in options.items()
    }
    constraint = getattr(keras.constraints, KERAS_NAMES[name])(**exact)
    return {key: constraint(w).numpy() for key, w in params.items()}


def torch_renorm(max_value: float, dtype: str, **params: np.ndarray) -> Arrays:
    """Apply `torch.renorm` by the last axis; it changes only vectors above the bound."""
    import torch

    return {
        name: torch.renorm(torch.tensor(w), 2, -1, max_value).numpy() for name, w in params.items()
    }


def torch_normalize(dtype: str, **params: np.ndarray) -> Arrays:
    """Apply `torch.nn.functional.normalize` over all axes but the last."""
    import torch

    def normalized(w: np.ndarray) -> np.ndarray:
        axes = tuple(range(w.ndim - 1)) or (0,)
        flat = torch.tensor(w).flatten(0, len(axes) - 1)
        normal: Any = torch.nn.functional.normalize(flat, dim=0, eps=1e-30)
        return np.asarray(normal.reshape(w.shape))

    return {name: normalized(w) for name, w in params.items()}


def torch_clamp(dtype: str, **params: np.ndarray) -> Arrays:
    """Apply `torch.clamp` with the minimum 0."""
    import torch

    return {name: torch.clamp(torch.tensor(w), min=0).numpy() for name, w in params.items()}


def optax_projection(name: str, options: tuple[float, ...], dtype: str, **params: Any) -> Arrays:
    """Apply a projection of Optax to each tensor separately."""
    import jax
    import optax

    with jax.enable_x64(dtype == "float64"):
        project = getattr(optax.projections, name)
        return {
            key: np.asarray(project(jax.numpy.asarray(w), *options)) for key, w in params.items()
        }


def with_keras(
    name: str, form: str, shapes: Mapping[str, tuple[int, ...]], **options: Any
) -> FunctionCase:
    """Make the case of a constraint with Keras's epsilon."""
    theirs = functools.partial(keras_constraint, name, options)
    return with_peers(name, form, shapes, {"keras": theirs}, **options)


def with_peers(
    name: str, form: str, shapes: Mapping[str, tuple[int, ...]], peers: Any, **options: Any
) -> FunctionCase:
    """Make the case of a constraint and functions of its peers."""
    return FunctionCase(
        kind="constraint",
        name=name,
        form=form,
        inputs=functools.partial(weights, shapes=shapes),
        ours=functools.partial(ours, getattr(constraints, name)(**options)),
        peers=peers,
    )


def above(max_value: float, dtype: str) -> Arrays:
    """Return weights whose vectors all have norms above a bound."""
    rng = np.random.default_rng(0)
    drawn = {k: rng.uniform(1, 2, shape) for k, shape in (DENSE | KERNELS).items() if k != "bias"}
    return {name: np.asarray(max_value * w, dtype) for name, w in drawn.items()}


CASES = [
    with_keras("max_norm", "", DENSE),
    with_keras("max_norm", "max_value 0.7", DENSE, max_value=0.7),
    with_keras("max_norm", "last axis", DENSE, axis=-1),
    with_keras("max_norm", "kernels", KERNELS, axis=[0, 1, 2]),
    with_keras("max_norm", "whole tensors", DENSE | KERNELS, max_value=0.7, axis=None),
    with_keras("min_max_norm", "", DENSE),
    with_keras("min_max_norm", "half the way", DENSE, min_value=0.5, max_value=2.5, rate=0.3),
    with_keras("min_max_norm", "kernels", KERNELS, min_value=0.5, axis=[0, 1, 2]),
    with_keras("unit_norm", "", DENSE),
    with_keras("unit_norm", "kernels", KERNELS, axis=[0, 1, 2]),
    FunctionCase(
        kind="constraint",
        name="max_norm",
        form="all above",
        inputs=functools.partial(above, 0.7),
        ours=functools.partial(ours, constraints.max_norm(0.7, "units")),
        peers={"torch": functools.partial(torch_renorm, 0.7)},
        rounding=Rounding("PyTorch's renorm leaves vectors within the bound unchanged"),
    ),
    with_peers(
        "max_norm",
        "exact, whole tensors",
        DENSE | KERNELS,
        {"optax": functools.partial(optax_projection, "projection_l2_ball", (0.7,))},
        max_value=0.7,
        axis=None,
        epsilon=0.0,
    ),
    with_peers(
        "unit_norm",
        "exact",
        DENSE | KERNELS,
        {"torch": torch_normalize},
        axis="units",
        epsilon=0.0,
    ),
    with_peers(
        "unit_norm",
        "exact, whole tensors",
        DENSE | KERNELS,
        {"optax": functools.partial(optax_projection, "projection_l2_sphere", ())},
        axis=None,
        epsilon=0.0,
    ),
    with_keras("non_neg", "", DENSE | KERNELS)._replace(
        peers={
            "keras": functools.partial(keras_constraint, "non_neg", {}),
            "torch": torch_clamp,
            "optax": functools.partial(optax_projection, "projection_non_negative", ()),
        }
    ),
]
