"""Structures of variables: their values as tensors, and back."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from trainlib.core.types import Tree


def read_values(variables: Any) -> Any:
    """Return the values of a structure of variables."""
    return tf.nest.map_structure(lambda v: v.read_value(), variables)


def assign_changed(variables: Any, old: Tree, new: Tree) -> bool:
    """Assign those of the new values that are other tensors than the old; return if any are."""
    pairs = zip(tf.nest.flatten(old), tf.nest.flatten(new), strict=True)
    changed = [x is not y for x, y in pairs]
    for variable, x, differs in zip(
        tf.nest.flatten(variables), tf.nest.flatten(new), changed, strict=True
    ):
        if differs:
            variable.assign(x)
    return any(changed)


def assign_values(variables: Any, values: Tree) -> None:
    """Assign values to a structure of variables."""
    tf.nest.map_structure(lambda v, x: v.assign(x), variables, values)
