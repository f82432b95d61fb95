"""Losses with a mask."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from trainlib.core.types import Tensor


class Masked(NamedTuple):
    """Losses with a mask: those outside it do not count.

    `weighted_sum` and `reduce` give them weight 0. Where a tensor or an array is expected, a
    `Masked` converts to its values and the mask is dropped.

    Attributes:
        values: the losses, 0 where they do not count; floating, shape [batch, ...].
        mask: which losses count, bool of the same shape.

    Example:
        >>> y_true, logits = [0, 255], tf.constant([[0.0, 0.0], [5.0, 0.0]])
        >>> loss = tl.losses.sparse_categorical_crossentropy(
        ...     y_true, logits, from_logits=True, ignore_class=255
        ... )
        >>> print(f"{float(tl.losses.reduce(loss)):.3f}")
        0.693
    """

    values: Tensor
    mask: Tensor

    def __tf_tensor__(self, dtype: Any = None, name: str | None = None) -> Any:
        """Convert to the tensor of values."""
        return tf.convert_to_tensor(self.values, dtype, name=name)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """Convert to the array of values."""
        return np.asarray(self.values, dtype)

    @classmethod
    def where(cls, mask: Any, values: Any) -> Masked:
        """Return the values under a mask, 0 elsewhere.

        The gradient of a value outside the mask is 0. What it is computed from has the gradient NaN
        if its derivative is not finite there, such as that of log(x) at 0: mask x, too.
        """
        return cls(tf.where(mask, values, tf.zeros_like(values)), mask)
