"""Structures of variables: their values as tensors, and back."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from trainlib.core.types import Tree


def read(variables: Any) -> Any:
    """The values of variables."""
    return tf.nest.map_structure(lambda v: v.read_value(), variables)


def assign(variables: Any, values: Tree) -> None:
    """Gives variables values."""
    tf.nest.map_structure(lambda v, x: v.assign(x), variables, values)
