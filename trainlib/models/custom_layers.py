"""Layers that Keras does not have.

Files that contain them open in Keras after `import trainlib.models.custom_layers`. This module
imports Keras; the models import it when they use it, so that no command does before it trains.
"""

from __future__ import annotations

from typing import Any

import keras

from trainlib.core.types import Tensor


@keras.saving.register_keras_serializable(package="trainlib")
class DropConnect(keras.layers.Dense):  # type: ignore[misc]
    """Dense layer that drops weights of its kernel in training, instead of units.

    In training y = activation(x (m * W) / (1 - rate) + b), where each element of m is 1 with
    probability 1 - rate and else 0; one m is drawn for a batch. In inference it is a `Dense`.

    Args:
        units: number of units.
        rate: fraction of the weights that is dropped, in [0, 1). Default: 0.5.
        seed: seed of the masks. Default: None, drawn from Keras's generator.
        **kwargs: arguments of `keras.layers.Dense`.

    Example:
        >>> from trainlib.models.custom_layers import DropConnect
        >>> layer = DropConnect(3, rate=0.5, kernel_initializer="ones")
        >>> bool((layer(tf.ones([1, 4])) == 4.0).numpy().all())
        True

    Differences:
        The paper draws a mask for each example, and averages over masks in inference; the scaled
        weights of inference are the usual approximation, as for dropout.

    References:
        Wan et al. 2013, "Regularization of Neural Networks using DropConnect".
    """

    def __init__(self, units: int, rate: float = 0.5, seed: int | None = None, **kwargs: Any):
        super().__init__(units, **kwargs)
        self.rate, self.seed = rate, seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, inputs: Tensor, training: bool = False) -> Tensor:
        """Return the outputs, with weights dropped in training."""
        if not training:
            return super().call(inputs)
        kernel = keras.random.dropout(self.kernel, self.rate, seed=self.seed_generator)
        y = keras.ops.matmul(inputs, kernel)
        return self.activation(y if self.bias is None else y + self.bias)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make the layer."""
        return {**super().get_config(), "rate": self.rate, "seed": self.seed}
