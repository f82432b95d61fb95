"""`ServedModel`. It is imported at its first use, because its base class needs Keras."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import keras

from trainlib.core.types import Tensor, Tree


class ServedModel(keras.Model):  # type: ignore[misc]
    """A model of raw values by name: it encodes them, calls the model, and names the outputs.

    Args:
        inner: the model of the run.
        encode: function from raw values by name to the inputs of the model.
        decode: function from the predictions to outputs by name.
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
