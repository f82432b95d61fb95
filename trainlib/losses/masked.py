"""Losses of which only some count."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from trainlib.core.types import Tensor


class Masked(NamedTuple):
    """Losses with a mask: `weighted_sum` and `reduce` give the others the weight 0.

    values: the losses, 0 where they do not count. mask: which count, a bool each. Wherever a
    tensor or an array is expected it stands for its values, and the mask is left behind.
    """

    values: Tensor
    mask: Tensor

    def __tf_tensor__(self, dtype: Any = None, name: str | None = None) -> Any:
        return tf.convert_to_tensor(self.values, dtype, name=name)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self.values, dtype)

    @classmethod
    def where(cls, mask: Any, values: Any) -> Masked:
        """The values under the mask; their gradient is 0 elsewhere."""
        return cls(tf.where(mask, values, tf.zeros_like(values)), mask)
