"""Residual networks for images: `resnet`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import keras

from trainlib.models.checks import named_model
from trainlib.models.dropout import Dropout, chosen_dropout
from trainlib.models.layers import (
    activation_layer,
    chain,
    channels,
    check_normalization,
    first_layers,
    kernel_initializer,
    last_layers,
    normalization,
)

STAGES = 3
"""Number of stages. Each halves the height and width of the one before, and doubles its filters."""


@named_model
def resnet(
    input_shape: tuple[int, ...],
    outputs: int,
    output_activation: str | None = None,
    preprocessing: Sequence[Any] = (),
    *,
    depth: int = 20,
    filters: int = 16,
    shortcut: str = "identity",
    padding: str = "same",
    activation: str = "relu",
    initializer: str = "auto",
    dropout: float = 0.0,
    dropout_kind: str = "auto",
) -> Any:
    """Return a residual network of basic blocks for small images.

    A block is activation(x + norm(conv(activation(norm(conv(x)))))) with 3x3 convolutions. A
    convolution, three stages of n blocks with 16, 32 and 64 filters, the mean of each feature map,
    and the output layer make 6n + 2 layers with weights. The first block of the second and the
    third stage halves height and width.

    Args:
        input_shape: shape of one image: (height, width) or (height, width, channels).
        outputs: number of units of the output layer, at least 1.
        output_activation: "softmax", "sigmoid" or None (default) for raw outputs. It becomes a
            separate last layer, "probabilities".
        preprocessing: first layers, such as `keras.layers.Rescaling`. Default: none.
        depth: number of layers, 6n + 2: 8, 14, 20, 26, 32, 38, 44, 50, 56, ... Default: 20.
        filters: number of filters of the first stage. Default: 16.
        shortcut: shortcut at the start of a stage: "identity" (default), every second pixel, with
            added channels of zeros; or "projection", a normalized 1x1 convolution.
        padding: padding of convolutions that halve height and width: "same" (default), as in Keras,
            which pads even sides only after the last row and column; or "symmetric", on all sides,
            as in PyTorch.
        activation: activation of the hidden layers, as in `mlp`, without maxout. Default: "relu".
        initializer: initializer of the kernels, as in `mlp`. Default: "auto".
        dropout: fraction to drop, in [0, 1). Default: 0.
        dropout_kind: "dropout" (which "auto", the default, is), "gaussian" or "gaussian_noise" of
            the means before the output layer, as in `mlp`; "spatial", whole feature maps between
            the convolutions of a block; or "stochastic_depth", whole blocks, with a rate that grows
            linearly to `dropout` at the last one.

    Returns:
        A built `keras.Model` named "resnet".

    Raises:
        ValueError: the examples are not images, the depth is not 6n + 2, a number is out of its
            range, or Keras has no such activation or initializer.

    Example:
        >>> model = tl.models.resnet((32, 32, 3), 10, depth=20)
        >>> sum(weight.shape.num_elements() for weight in model.trainable_weights)
        269722

    Differences:
        Keras: the default momentum of its batch normalization is 0.99, too slow for short runs;
            here it is 0.9, as in PyTorch.
        PyTorch: epsilon of batch normalization is 1e-5; here it is 1e-3, as in Keras.

    References:
        He et al. 2015, "Deep Residual Learning for Image Recognition", section 4.2. Huang et al.
        2016, "Deep Networks with Stochastic Depth".
    """
    if (depth - 2) % 6:
        below = max(8, depth - (depth - 2) % 6)
        raise ValueError(f"depth of resnet must be 6n + 2, such as {below} or {below + 6}")
    check_normalization(activation, True)
    dropped = chosen_dropout(dropout, dropout_kind, activation)
    kernel = kernel_initializer(initializer, activation)
    kinds = _Blocks(kernel, activation, shortcut, padding, dropped)
    first, *layers = first_layers(input_shape, preprocessing) + channels(input_shape)
    x = chain(first, [*layers, *kinds.convolution("conv_1", filters)])
    x = activation_layer(activation, "activation_1", 2)(x)
    blocks = (depth - 2) // 6
    for k in range(STAGES * blocks):
        stage, block = divmod(k, blocks)
        strides = 2 if stage and not block else 1
        x = kinds.block(x, k + 1, filters * 2**stage, strides, (k + 1) / (STAGES * blocks))
    x = keras.layers.GlobalAveragePooling2D(name="mean")(x)
    last = last_layers(outputs, output_activation)
    return keras.Model(first, chain(x, [*dropped.layers("dropout_1"), *last]), name="resnet")


class _Blocks(NamedTuple):
    """Settings of the blocks of a model."""

    kernel: Any
    activation: str
    shortcut: str
    padding: str
    dropout: Dropout

    def convolution(self, name: str, filters: int, strides: int = 1, size: int = 3) -> list[Any]:
        """Return a convolution and its normalization."""
        pads = self.padding == "symmetric" and strides > 1 and size > 1
        return [
            *([keras.layers.ZeroPadding2D(size // 2, name=f"{name}_pad")] if pads else []),
            keras.layers.Conv2D(
                filters,
                size,
                strides,
                padding="valid" if pads else "same",
                use_bias=False,
                kernel_initializer=self.kernel,
                name=name,
            ),
            normalization(f"{name}_norm"),
        ]

    def block(self, x: Any, index: int, filters: int, strides: int, position: float) -> Any:
        """Return the output of a block for an input.

        Args:
            x: the input.
            index: number of the block, from 1.
            filters: number of filters.
            strides: 2 for a block that halves height and width, else 1.
            position: position of the block in the model, in (0, 1].
        """
        name = f"block_{index}"
        branch = [
            *self.convolution(f"{name}_conv_1", filters, strides),
            activation_layer(self.activation, f"{name}_activation_1", 2),
            *self.dropout.spatial_layers(f"{name}_dropout", 3),
            *self.convolution(f"{name}_conv_2", filters),
            *self.dropout.branch_layers(f"{name}_dropout", 3, position),
        ]
        short = self._shortcut(x, name, filters, strides)
        x = keras.layers.Add(name=f"{name}_add")([short, chain(x, branch)])
        return activation_layer(self.activation, f"{name}_activation_2", 2)(x)

    def _shortcut(self, x: Any, name: str, filters: int, strides: int) -> Any:
        """Return the input of a block in the shape of its output."""
        missing = filters - x.shape[-1]
        if strides == 1 and not missing:
            return x
        if self.shortcut == "projection":
            return chain(x, self.convolution(f"{name}_shortcut", filters, strides, 1))
        x = keras.layers.AveragePooling2D(1, strides, name=f"{name}_shortcut")(x)
        return keras.ops.pad(x, [[0, 0]] * 3 + [[missing // 2, missing - missing // 2]])
