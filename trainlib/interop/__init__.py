"""Optimizer states to and from Keras, PyTorch and Optax; each is imported at its first use.

keras: `optimizer_from_keras` and `state_to_keras`.
keras_optimizers: the optimizers of Keras and their options.
keras_slots: the variables of a Keras optimizer.
optax: `state_from_optax` and `state_to_optax`.
torch: `state_from_torch` and `state_to_torch`.
slot_table: shared by all: slots, and the conversion between two states.
"""

from trainlib.interop.keras import optimizer_from_keras, state_to_keras
from trainlib.interop.optax import state_from_optax, state_to_optax
from trainlib.interop.torch import state_from_torch, state_to_torch

__all__ = [
    "optimizer_from_keras",
    "state_from_optax",
    "state_from_torch",
    "state_to_keras",
    "state_to_optax",
    "state_to_torch",
]
