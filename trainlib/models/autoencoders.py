"""Autoencoders: `autoencoder`, dense or convolutional."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from trainlib.models.checks import named_model
from trainlib.models.dense import HiddenLayers
from trainlib.models.dropout import Dropout, chosen_dropout
from trainlib.models.layers import (
    activation_layer,
    channels,
    first_layers,
    flatten,
    kernel_initializer,
)

TARGETS = "targets"
"""Name of the layer whose output an autoencoder is trained to reconstruct."""
RECONSTRUCTING = ("autoencoder",)
"""Names of models whose targets are their inputs."""
CHUNK = 4096
"""Number of examples that are scaled at once."""
_NO_DROPOUT = Dropout(0.0, "dropout")


@named_model
def autoencoder(
    input_shape: tuple[int, ...],
    outputs: int,
    output_activation: str | None = None,
    preprocessing: Sequence[Any] = (),
    *,
    hidden: Sequence[int] = (100, 30),
    convolutional: bool = False,
    depth: int = 2,
    filters: int = 16,
    activation: str = "relu",
    initializer: str = "auto",
    dropout: float = 0.0,
    dropout_kind: str = "auto",
) -> Any:
    """Return a stacked autoencoder: an encoder to a small code, and a decoder back to the input.

    Its targets are its inputs, after the preprocessing layers. With `dropout` it is a denoising
    autoencoder: its inputs are noisy, its targets are not.

    Args:
        input_shape: shape of one example.
        outputs: number of values of one example.
        output_activation: "sigmoid" for values in [0, 1], or None (default) for raw outputs.
        preprocessing: first layers, such as `keras.layers.Rescaling`. Default: none.
        hidden: widths of the encoder's dense layers; the last one is the length of the code. The
            decoder has them in reverse. Default: (100, 30).
        convolutional: whether the encoder consists of blocks of a 3x3 convolution and 2x2 max
            pooling, and the decoder of transposed convolutions with stride 2, instead of dense
            layers. Default: False.
        depth: number of these blocks; each has twice the filters of the one before. Default: 2.
        filters: number of filters of the first block. Default: 16.
        activation: activation of the hidden layers, as in `mlp`; maxout in dense ones only.
            Default: "relu".
        initializer: initializer of the kernels, as in `mlp`. Default: "auto".
        dropout: fraction of the inputs to drop, in [0, 1); of gaussian_noise the standard
            deviation. Default: 0.
        dropout_kind: "dropout" (which "auto", the default, is), "gaussian" or "gaussian_noise", as
            in `mlp`.

    Returns:
        A built `keras.Sequential` named "autoencoder", whose output has the shape of its input.
        The layer "code" ends the encoder; the layer "targets" ends the preprocessing.

    Raises:
        ValueError: `outputs` is not the number of values, a number is out of its range, images do
            not have sides that pooling halves `depth` times, or Keras has no such activation or
            initializer.

    Example:
        >>> model = tl.models.autoencoder((28, 28), 784)
        >>> model.output_shape, model.get_layer("code").output.shape
        ((None, 28, 28), (None, 30))

    References:
        Hinton and Salakhutdinov 2006, "Reducing the Dimensionality of Data with Neural Networks".
        Vincent et al. 2008, "Extracting and Composing Robust Features with Denoising Autoencoders".
    """
    values = math.prod(input_shape)
    if outputs != values:
        raise ValueError(
            f"outputs of autoencoder must be the {values} values of its input, got {outputs}"
        )
    dropped = chosen_dropout(dropout, dropout_kind, activation)
    kernel = kernel_initializer(initializer, activation)
    layers = first_layers(input_shape, preprocessing)
    layers.append(keras.layers.Identity(name=TARGETS))
    layers += dropped.layers("disturbed_input", len(input_shape))
    if convolutional:
        _check_halves(input_shape, depth)
        layers += channels(input_shape) + _convolutional(
            input_shape, depth, filters, kernel, activation
        )
    else:
        if not hidden:
            raise ValueError("hidden must hold at least the width of the code")
        kinds = HiddenLayers(kernel, activation, _NO_DROPOUT)
        layers += [*flatten(input_shape), *_dense(kinds, hidden, values)]
    if len(input_shape) > 1:
        layers.append(keras.layers.Reshape(input_shape, name="in_the_shape_of_the_input"))
    if output_activation is not None:
        layers.append(keras.layers.Activation(output_activation, name="probabilities"))
    return keras.Sequential(layers, name="autoencoder")


def reconstruction_targets(model: Any, x: Any) -> Any:
    """Return the targets of an autoencoder: its inputs, after its preprocessing layers.

    Args:
        model: an `autoencoder`.
        x: examples, an array [N, ...].

    Returns:
        An array of the shape of x, in float32.

    Example:
        >>> import keras
        >>> import numpy as np
        >>> scale = keras.layers.Rescaling(1 / 255)
        >>> model = tl.models.autoencoder((2,), 2, None, [scale])
        >>> tl.models.reconstruction_targets(model, np.array([[0, 255]]))
        array([[0., 1.]], dtype=float32)
    """
    scaled = keras.Model(model.inputs[0], model.get_layer(TARGETS).output)
    chunks = [np.asarray(scaled(x[i : i + CHUNK])) for i in range(0, len(x), CHUNK)]
    return np.concatenate(chunks)


def _dense(kinds: HiddenLayers, hidden: Sequence[int], values: int) -> list[Any]:
    """Return the dense layers between a flat input and an output with `outputs` values."""
    encoder = [kinds.layers(i, width) for i, width in enumerate(hidden, start=1)]
    back = list(hidden[-2::-1])
    decoder = [kinds.layers(i, width) for i, width in enumerate(back, start=len(hidden) + 1)]
    code = keras.layers.Identity(name="code")
    return [*sum(encoder, []), code, *sum(decoder, []), keras.layers.Dense(values, name="outputs")]


def _convolutional(
    input_shape: tuple[int, ...], depth: int, filters: int, kernel: Any, activation: str
) -> list[Any]:
    """Return the convolutions between images and images of the same shape."""
    options = {"padding": "same", "kernel_initializer": kernel}
    layers: list[Any] = []
    for i in range(1, depth + 1):
        layers += [
            keras.layers.Conv2D(filters * 2 ** (i - 1), 3, name=f"conv_{i}", **options),
            activation_layer(activation, f"activation_{i}", 2),
            keras.layers.MaxPooling2D(name=f"pool_{i}"),
        ]
    layers.append(keras.layers.Identity(name="code"))
    for i in range(1, depth):
        layers += [
            keras.layers.Conv2DTranspose(
                filters * 2 ** (depth - 1 - i), 3, 2, name=f"transposed_conv_{i}", **options
            ),
            activation_layer(activation, f"activation_{depth + i}", 2),
        ]
    last = input_shape[2] if len(input_shape) > 2 else 1
    return [*layers, keras.layers.Conv2DTranspose(last, 3, 2, padding="same", name="outputs")]


def _check_halves(shape: tuple[int, ...], depth: int) -> None:
    """Raise `ValueError` unless pooling halves the sides of images `depth` times."""
    if len(shape) < 2 or any(side % 2**depth for side in shape[:2]):
        raise ValueError(
            f"autoencoder with convolutional and depth={depth} needs images whose height and width "
            f"are multiples of {2**depth}; the examples have shape {shape}"
        )
