"""Read structures of variables as tensors, and assign tensors to them."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from trainlib.core.types import Tree


def read_values(variables: Any) -> Any:
    """Return the values of a structure of variables."""
    if tf.executing_eagerly():  # avoids the identity that `read_value` adds
        return tf.nest.map_structure(lambda v: v.value(), variables)
    return tf.nest.map_structure(lambda v: v.read_value(), variables)


def assign_changed(variables: Any, old: Tree, new: Tree) -> None:
    """Assign the new values, except those that are the same tensor as the old value."""
    flat = map(tf.nest.flatten, (variables, old, new))
    for variable, before, after in zip(*flat, strict=True):
        if after is not before:
            variable.assign(after)


def assign_values(variables: Any, values: Tree) -> None:
    """Assign values to a structure of variables; a list may be given for a tuple."""
    tf.nest.map_structure(lambda v, x: v.assign(x), variables, values, check_types=False)
