"""Parameters and optimizer states to and from files, Keras, PyTorch and Optax.

Packages besides Keras are imported at their first use.

keras: `optimizer_from_keras` and `state_to_keras`.
keras_optimizers: the optimizers of Keras and their options.
keras_slots: the variables of a Keras optimizer.
optax: `state_from_optax` and `state_to_optax`.
torch: `state_from_torch` and `state_to_torch`.
parameters: `save_parameters` and `load_parameters`.
torch_modules, torch_matching, torch_layers: parameters of PyTorch's modules: the modules, the
    layers of Keras that they belong to, and their arrays in Keras's layouts.
flattened_images: the layers that take flattened images, whose order differs in PyTorch.
slot_table: shared by all that convert states: slots, and the conversion between two states.
"""

from trainlib.interop.keras import optimizer_from_keras, state_to_keras
from trainlib.interop.optax import state_from_optax, state_to_optax
from trainlib.interop.parameters import load_parameters, save_parameters
from trainlib.interop.torch import state_from_torch, state_to_torch

__all__ = [
    "load_parameters",
    "optimizer_from_keras",
    "save_parameters",
    "state_from_optax",
    "state_from_torch",
    "state_to_keras",
    "state_to_optax",
    "state_to_torch",
]
