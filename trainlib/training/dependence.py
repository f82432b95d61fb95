"""Data dependences that fix an order of computations: XLA preserves no other order."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from trainlib.core.tree import map_values
from trainlib.core.types import Tensor, Tree

_NEVER = 0x7FC0DEAD
"""Bits of a NaN that no arithmetic makes."""


def after(known: Sequence[Tensor], tree: Tree) -> Tree:
    """Return tensors that are made to depend on others, which XLA therefore computes first.

    XLA removes its own barriers before it chooses an order, so that the order is one of data: each
    tensor is selected by a condition on a value of each of the others, which never holds.

    Args:
        known: the tensors that are computed first, floating.
        tree: a structure of floating tensors, `tf.IndexedSlices` and None, to be computed later.

    Returns:
        The same values.
    """
    firsts = [_first(x) for x in known if x.shape.num_elements() != 0]
    if not firsts:
        return tree
    never = tf.reduce_any(tf.stack(firsts) == _NEVER)

    def select(x: Tensor) -> Tensor:
        return tf.where(never, tf.constant(float("nan"), x.dtype), x)

    return tf.nest.map_structure(lambda x: None if x is None else map_values(select, x), tree)


def _first(g: Tensor) -> Tensor:
    """Return the bits of the first value of a tensor."""
    return tf.bitcast(tf.cast(tf.reshape(g, [-1])[0], tf.float32), tf.int32)
