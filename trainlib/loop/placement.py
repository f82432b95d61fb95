"""A user's arrays as tensors on the device."""

from __future__ import annotations

import functools
from typing import Any

import tensorflow as tf

from trainlib.base import Tensor, Tree


def place_pairs(name: str, data: tuple[Any, ...]) -> tuple[Tree, int]:
    """`place` for what must be (x, y) or (x, y, sample_weight)."""
    if not isinstance(data, tuple) or len(data) not in (2, 3):
        got = f"a tuple of {len(data)}" if isinstance(data, tuple) else type(data).__name__
        raise TypeError(f"{name} must be (x, y) or (x, y, sample_weight), got {got}")
    return place(name, data)


def place(name: str, data: tuple[Any, ...]) -> tuple[Tree, int]:
    """Arrays as tensors on the device, and the number of examples that they all have."""
    placed = tf.nest.map_structure(functools.partial(_tensor, name), data)
    sizes = {int(a.shape[0]) if a.shape.rank else 0 for a in tf.nest.flatten(placed)}
    if len(sizes) != 1 or sizes == {0}:
        raise ValueError(
            f"{name} must be arrays of one length above 0, got lengths {sorted(sizes)}"
        )
    return placed, sizes.pop()


def _tensor(name: str, array: Any) -> Tensor:
    """An array of numbers as a tensor."""
    try:
        tensor = tf.convert_to_tensor(array)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name} must be arrays of numbers: {error}") from None
    if tensor.dtype == tf.string:
        raise TypeError(f"{name} must be arrays of numbers, got one of strings")
    return tensor
