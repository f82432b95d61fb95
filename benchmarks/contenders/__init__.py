"""The contenders: a module for each library, each imported in a separate process.

base: what they share; ours, keras_, torch_, jax_: trainlib, Keras, PyTorch, JAX with Optax; bare:
the steps written by hand in TensorFlow. keras_nets, torch_nets, jax_nets: the models.
"""

from __future__ import annotations

from typing import Any, NamedTuple


class Contender(NamedTuple):
    """A library and how it trains.

    Attributes:
        module: its module in this package.
        about: description for the table.
        options: options of its `Training`.
        needs_xla: whether XLA compiles its steps, whatever the model.
    """

    module: str
    about: str
    options: dict[str, Any] = {}
    needs_xla: bool = False


OURS, SHUFFLING = "ours", "ours_shuffling"
TRAINING = {
    OURS: Contender("ours", "tl.Trainer.fit, in the order that all contenders get"),
    SHUFFLING: Contender("ours", "tl.Trainer.fit, which shuffles by default", {"shuffle": True}),
    "bare": Contender(
        "bare", "the step by hand in a tf.while_loop, without metrics, under XLA", needs_xla=True
    ),
    "bare_graph": Contender("bare", "the same as a graph", {"compiled": False}),
    "keras_default": Contender("keras_", "Model.fit with its defaults"),
    "keras_best": Contender("keras_", "Model.fit, steps_per_execution and jit_compile searched"),
    "torch": Contender("torch_", "PyTorch, eager"),
    "torch_fused": Contender("torch_", "PyTorch, eager, fused optimizer", {"fused": True}),
    "torch_compiled": Contender(
        "torch_", "PyTorch, torch.compile, fused optimizer", {"fused": True, "compiled": True}
    ),
    "jax": Contender("jax_", "JAX with Optax, lax.scan over the steps", needs_xla=True),
    "jax_steps": Contender(
        "jax_", "JAX with Optax, one call per step", {"scan": False}, needs_xla=True
    ),
}
FAMILIES = {
    "bare": ("bare", "bare_graph"),
    "keras_default": ("keras_default",),
    "keras_best": ("keras_best",),
    "torch": ("torch", "torch_fused", "torch_compiled"),
    "jax": ("jax", "jax_steps"),
}
"""The ratio to a family is that to its fastest member."""
UPDATING = {OURS: "ours", "keras": "keras_", "torch": "torch_", "optax": "jax_"}
"""Modules by the name under which the update alone is measured."""
