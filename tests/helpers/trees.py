"""Structures of tensors as NumPy arrays and as bits, and assertions on two of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf


def arrays(tree: Any) -> list[np.ndarray]:
    """Return the leaves of a structure as NumPy arrays."""
    return [tf.convert_to_tensor(leaf).numpy() for leaf in tf.nest.flatten(tree)]


def bits(tree: Any) -> list[tuple[str, tuple[int, ...], bytes]]:
    """Return dtype, shape and bytes of each leaf: equal for two structures of the same bits."""
    return [(str(x.dtype), x.shape, x.tobytes()) for x in map(np.asarray, arrays(tree))]


def assert_same_bits(actual: Any, expected: Any) -> None:
    """Assert that two structures have the same form, and their leaves the same bits."""
    tf.nest.assert_same_structure(actual, expected)
    for i, (a, b) in enumerate(zip(bits(actual), bits(expected), strict=True)):
        assert a == b, f"leaf {i} differs"


def assert_close(actual: Any, expected: Any, tolerance: float) -> None:
    """Assert that leaves agree to a tolerance relative to the largest value of each leaf."""
    for a, b in zip(arrays(actual), arrays(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * np.max(np.abs(b), initial=0))
