"""Data dependences that fix an order of computations: XLA preserves no other order."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from trainlib.core.types import Tensor

_NEVER = 0x7FC0DEAD
"""Bits of a NaN that no arithmetic makes."""


def after(known: Tensor, tensors: Sequence[Tensor]) -> list[Tensor]:
    """Return tensors that are made to depend on another, which XLA therefore computes first.

    XLA removes its own barriers before it chooses an order, so that the order is one of data: each
    tensor is selected by a condition on a value of the other, which never holds.

    Args:
        known: the tensor that is computed first, floating.
        tensors: the tensors that are computed later, floating.

    Returns:
        The same values.
    """
    if known.shape.num_elements() == 0:
        return list(tensors)
    never = _first(known) == _NEVER
    return [tf.where(never, tf.constant(float("nan"), x.dtype), x) for x in tensors]


def _first(x: Tensor) -> Tensor:
    """Return the bits of the first value of a tensor."""
    return tf.bitcast(tf.cast(tf.reshape(x, [-1])[0], tf.float32), tf.int32)
