"""Structures of variables: their values as tensors, and back."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from trainlib.core.types import Tree


def read_values(variables: Any) -> Any:
    """Return the values of a structure of variables."""
    return tf.nest.map_structure(lambda v: v.read_value(), variables)


def assign_values(variables: Any, values: Tree) -> None:
    """Assign values to a structure of variables."""
    tf.nest.map_structure(lambda v, x: v.assign(x), variables, values)
