"""Layers that Keras does not have.

`.keras` files with these layers can be loaded after `import trainlib.models.custom_layers`. This
module imports Keras, so it is itself imported only when a model uses it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
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


@keras.saving.register_keras_serializable(package="trainlib")
class PositionEmbedding(keras.layers.Layer):  # type: ignore[misc]
    """Add a vector for each position to a sequence of vectors [batch, steps, width].

    "learned": y_p = x_p + P_p with trained P, which start uniform in [-0.05, 0.05], as those of
    `keras.layers.Embedding` do. "sinusoidal": y_p = sqrt(width) x_p + P_p with P_p,2i =
    sin(p / 10000^(2i / width)) and P_p,2i+1 = cos(p / 10000^(2i / width)).

    Args:
        kind: "learned" (default), for sequences of one length, or "sinusoidal".
        **kwargs: arguments of `keras.layers.Layer`.

    Example:
        >>> from trainlib.models.custom_layers import PositionEmbedding
        >>> PositionEmbedding("sinusoidal")(tf.zeros([1, 2, 4]))[0].numpy().round(2)
        array([[0.  , 1.  , 0.  , 1.  ],
               [0.84, 0.54, 0.01, 1.  ]], dtype=float32)

    References:
        Vaswani et al. 2017, "Attention Is All You Need", section 3.5.
    """

    def __init__(self, kind: str = "learned", **kwargs: Any):
        super().__init__(**kwargs)
        self.kind, self.supports_masking = kind, True

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Make the learned vectors."""
        if self.kind == "learned":
            self.positions = self.add_weight(
                name="positions", shape=input_shape[1:], initializer="uniform"
            )

    def call(self, inputs: Tensor) -> Tensor:
        """Return the sequence with the vectors of its positions added."""
        if self.kind == "learned":
            return inputs + self.positions
        steps, width = keras.ops.shape(inputs)[1], inputs.shape[-1]
        i = keras.ops.arange(width, dtype="float32")
        frequencies = keras.ops.power(10000.0, -(i - i % 2) / width)
        angles = keras.ops.arange(steps, dtype="float32")[:, None] * frequencies
        positions = keras.ops.where(i % 2 == 0, keras.ops.sin(angles), keras.ops.cos(angles))
        return inputs * width**0.5 + keras.ops.cast(positions, inputs.dtype)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make the layer."""
        return {**super().get_config(), "kind": self.kind}


@keras.saving.register_keras_serializable(package="trainlib")
class MaskedMean(keras.layers.GlobalAveragePooling1D):  # type: ignore[misc]
    """Mean over the steps of a sequence that are not masked; 0 where all of them are.

    Keras's `GlobalAveragePooling1D` divides 0 by 0 for such a sequence.

    Example:
        >>> from trainlib.models.custom_layers import MaskedMean
        >>> x, mask = tf.constant([[[2.0], [4.0]], [[2.0], [4.0]]]), [[True, False], [False, False]]
        >>> MaskedMean()(x, mask=tf.constant(mask)).numpy().tolist()
        [[2.0], [0.0]]
    """

    def call(self, inputs: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the mean of each sequence, [batch, features]."""
        if mask is None:
            return super().call(inputs)
        counted = keras.ops.cast(mask, inputs.dtype)[:, :, None]
        total = keras.ops.sum(inputs * counted, axis=1)
        return total / keras.ops.maximum(keras.ops.sum(counted, axis=1), 1)


@keras.saving.register_keras_serializable(package="trainlib")
class FourierFeatures(keras.layers.Layer):  # type: ignore[misc]
    """Append sines and cosines of linear combinations of columns to the columns.

    y = [x, sin(2 pi x_c B), cos(2 pi x_c B)], where x_c are some of the columns of x and the
    frequencies B [columns, features] start normal, with mean 0 and standard deviation `scale`, and
    are trained. It computes in float32 or wider.

    Args:
        features: number of frequencies; each adds two columns.
        scale: standard deviation of the initial frequencies, in cycles per unit of x. Default: 1.
        columns: positions of the columns x_c. Default: None, all.
        **kwargs: arguments of `keras.layers.Layer`.

    Example:
        >>> from trainlib.models.custom_layers import FourierFeatures
        >>> FourierFeatures(16, columns=[1, 2])(tf.ones([4, 3])).shape
        TensorShape([4, 35])

    Differences:
        The papers keep the frequencies as they are drawn, and leave x out.

    References:
        Rahimi and Recht 2007, "Random Features for Large-Scale Kernel Machines". Tancik et al.
        2020, "Fourier Features Let Networks Learn High Frequency Functions in Low Dimensional
        Domains".
    """

    def __init__(
        self,
        features: int,
        scale: float = 1.0,
        columns: Sequence[int] | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.features, self.scale = features, scale
        self.columns = None if columns is None else list(columns)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Make the frequencies."""
        count = input_shape[-1] if self.columns is None else len(self.columns)
        self.frequencies = self.add_weight(
            name="frequencies",
            shape=(count, self.features),
            initializer=keras.initializers.RandomNormal(stddev=self.scale),
        )

    def call(self, inputs: Tensor) -> Tensor:
        """Return the columns, sines and cosines, [batch, columns + 2 features]."""
        dtype = keras.backend.result_type(inputs.dtype, "float32")
        x = keras.ops.cast(inputs, dtype)
        if self.columns is not None:
            x = keras.ops.take(x, self.columns, axis=-1)
        angles = 2 * math.pi * keras.ops.matmul(x, keras.ops.cast(self.frequencies, dtype))
        waves = [keras.ops.sin(angles), keras.ops.cos(angles)]
        waves = [keras.ops.cast(wave, inputs.dtype) for wave in waves]
        return keras.ops.concatenate([inputs, *waves], axis=-1)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return the shape of the outputs."""
        return (*input_shape[:-1], (input_shape[-1] or 0) + 2 * self.features)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make the layer."""
        own = {"features": self.features, "scale": self.scale, "columns": self.columns}
        return {**super().get_config(), **own}
