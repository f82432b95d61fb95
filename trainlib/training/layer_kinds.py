"""Kinds of Keras's layers, by name: keras is not imported."""

from __future__ import annotations

ELEMENTWISE = (
    "Activation",
    "ELU",
    "Identity",
    "LeakyReLU",
    "Normalization",
    "ReLU",
    "Rescaling",
    "Softmax",
)
"""Activations and layers that scale: their outputs have the shape and the order of their inputs."""
