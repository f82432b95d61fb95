"""Who is measured: each library in a module of its own, imported in a process of its own."""

from __future__ import annotations

from typing import Any, NamedTuple


class Contender(NamedTuple):
    """module: in this package. options: of its `Training`. about: what the table calls it."""

    module: str
    about: str
    options: dict[str, Any] = {}


OURS, SHUFFLING = "ours", "ours_shuffling"
TRAINING = {
    OURS: Contender("ours", "tl.Trainer.fit, in the order that all are given"),
    SHUFFLING: Contender("ours", "tl.Trainer.fit as it comes: it shuffles", {"shuffle": True}),
    "keras_default": Contender("keras_", "Model.fit as it comes"),
    "keras_best": Contender("keras_", "Model.fit, steps_per_execution and jit_compile searched"),
    "torch": Contender("torch_", "PyTorch, eager"),
    "torch_fused": Contender("torch_", "PyTorch, eager, fused optimizer", {"fused": True}),
    "torch_compiled": Contender(
        "torch_", "PyTorch, torch.compile, fused optimizer", {"fused": True, "compiled": True}
    ),
    "jax": Contender("jax_", "JAX with Optax, lax.scan over the steps"),
    "jax_steps": Contender("jax_", "JAX with Optax, a call a step", {"scan": False}),
}
FAMILIES = {
    "keras_default": ("keras_default",),
    "keras_best": ("keras_best",),
    "torch": ("torch", "torch_fused", "torch_compiled"),
    "jax": ("jax", "jax_steps"),
}
"""The ratio to a family is that to its fastest member."""
UPDATING = {OURS: "ours", "keras": "keras_", "torch": "torch_", "optax": "jax_"}
"""Modules by the name under which the update alone is measured."""
