"""Optimizer states to and from Keras, PyTorch and Optax; none of them is imported before its use.

Each library has a room with one table from the fields of our states to its own slots; `carry` has
what they share.
"""

from trainlib.interop.keras import from_keras, to_keras
from trainlib.interop.optax import from_optax, to_optax
from trainlib.interop.torch import from_torch, to_torch

__all__ = ["from_keras", "from_optax", "from_torch", "to_keras", "to_optax", "to_torch"]
