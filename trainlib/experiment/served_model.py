"""`ServedModel`, which is imported at its first use: its base class imports Keras."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import keras

from trainlib.core.types import Tensor, Tree


class ServedModel(keras.Model):  # type: ignore[misc]
    """A model with the rules of its inputs before it, and its outputs by name after it.

    Args:
        inner: the model.
        encode: function of raw values by name that returns the inputs of the model.
        decode: function of its predictions that returns outputs by name.
    """

    def __init__(
        self,
        inner: Any,
        encode: Callable[[Mapping[str, Tensor]], Tree],
        decode: Callable[[Tree], dict[str, Tensor]],
    ) -> None:
        super().__init__(name="served", autocast=False)
        self.inner = inner
        self._encode, self._decode = encode, decode

    def call(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the predictions of raw values."""
        return self._decode(self.inner(self._encode(inputs), training=False))
