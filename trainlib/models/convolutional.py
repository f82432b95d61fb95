"""Convolutional networks: `cnn` and `separable_cnn`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import keras

from trainlib.models.checks import check_sides, named_model
from trainlib.models.dropout import chosen_dropout
from trainlib.models.layers import (
    activation_function,
    activation_layer,
    channels,
    check_normalization,
    first_layers,
    is_plain,
    kernel_initializer,
    last_layers,
    normalization,
)


class Convolutions(NamedTuple):
    """Settings of the convolutions and the dense layer of a model.

    Attributes:
        kernel: initializer of the kernels.
        activation: activation, with options.
        batch_norm: whether convolutions are normalized before their activation.
        size: height and width of the kernels.
        padding: "valid" or "same".
        separable: whether convolutions are depthwise separable.
    """

    kernel: Any
    activation: str
    batch_norm: bool
    size: int = 3
    padding: str = "same"
    separable: bool = False

    def layers(self, index: int, filters: int) -> list[Any]:
        """Return a convolution with its normalization and its activation."""
        options = {"padding": self.padding, "name": f"conv_{index}"}
        if self.separable:
            layer = keras.layers.SeparableConv2D
            options |= {"pointwise_initializer": self.kernel}
            # Keras counts the inputs of all channels, with which the activations vanish.
            options |= {"depthwise_initializer": keras.initializers.RandomNormal(0, 1 / self.size)}
        else:
            layer = keras.layers.Conv2D
            options |= {"kernel_initializer": self.kernel}
        if not self.batch_norm and is_plain(self.activation):
            function = activation_function(self.activation)
            return [layer(filters, self.size, activation=function, **options)]
        layers = [layer(filters, self.size, use_bias=not self.batch_norm, **options)]
        if self.batch_norm:
            layers.append(normalization(f"batch_norm_{index}"))
        return [*layers, activation_layer(self.activation, f"activation_{index}", 2)]

    def dense_layers(self, units: int) -> list[Any]:
        """Return the hidden dense layer with its activation."""
        options = {"kernel_initializer": self.kernel, "name": "hidden_1"}
        if is_plain(self.activation):
            function = activation_function(self.activation)
            return [keras.layers.Dense(units, activation=function, **options)]
        layer = keras.layers.Dense(units, **options)
        return [layer, activation_layer(self.activation, "hidden_activation_1")]


@named_model
def cnn(
    input_shape: tuple[int, ...],
    outputs: int,
    output_activation: str | None = None,
    preprocessing: Sequence[Any] = (),
    *,
    filters: int = 32,
    depth: int = 1,
    convolutions: int = 1,
    kernel_size: int = 3,
    padding: str = "valid",
    units: int = 128,
    activation: str = "relu",
    initializer: str = "auto",
    batch_norm: bool = False,
    dropout: float = 0.1,
    dropout_kind: str = "auto",
) -> Any:
    """Return a convolutional network.

    Its layers: blocks of convolutions and 2x2 max pooling, flatten, dense, dropout, output layer.
    Each block has twice the filters of the one before.

    Args:
        input_shape: shape of one image: (height, width) or (height, width, channels), with height
            and width of at least 4, and more with more blocks.
        outputs: number of units of the output layer, at least 1.
        output_activation: "softmax", "sigmoid" or None (default) for raw outputs. It becomes a
            separate last layer, "probabilities".
        preprocessing: first layers, such as `keras.layers.Rescaling`. Default: none.
        filters: number of filters of the first block. Default: 32.
        depth: number of blocks. Default: 1.
        convolutions: number of convolutions in a block. Default: 1.
        kernel_size: height and width of the kernels, in pixels. Default: 3.
        padding: "valid" (default), or "same", with which convolutions keep height and width.
        units: number of units of the dense layer. Default: 128.
        activation: activation of the hidden layers, as in `mlp`, without maxout. Default: "relu".
        initializer: initializer of their kernels, as in `mlp`. Default: "auto".
        batch_norm: whether convolutions are normalized before their activation. Default: False.
        dropout: fraction of the dense layer's units to drop, in [0, 1). Default: 0.1.
        dropout_kind: "dropout" (which "auto", the default, is), "gaussian" or "gaussian_noise" of
            the dense layer, as in `mlp`; or "spatial", which drops whole feature maps after each
            pooling instead.

    Returns:
        A built `keras.Sequential` named "cnn".

    Raises:
        ValueError: the examples are not images of at least 4x4, a number is out of its range, or
            Keras has no such activation or initializer.

    Example:
        >>> model = tl.models.cnn((28, 28), 10, filters=8, units=16)
        >>> [layer.name for layer in model.layers]
        ['channels', 'conv_1', 'pool_1', 'flatten', 'hidden_1', 'dropout_1', 'outputs']
        >>> model.count_params()
        21898
    """
    lost = convolutions * (kernel_size - 1) if padding == "valid" else 0
    check_sides("cnn", input_shape, _smallest_side(depth, lost))
    check_normalization(activation, batch_norm)
    dropped = chosen_dropout(dropout, dropout_kind, activation)
    kernel = kernel_initializer(initializer, activation)
    kinds = Convolutions(kernel, activation, batch_norm, kernel_size, padding)
    layers = first_layers(input_shape, preprocessing) + channels(input_shape)
    for block in range(depth):
        for i in range(block * convolutions + 1, (block + 1) * convolutions + 1):
            layers += kinds.layers(i, filters * 2**block)
        layers.append(keras.layers.MaxPooling2D(name=f"pool_{block + 1}"))
        layers += dropped.spatial_layers(f"dropout_{block + 1}", 3)
    layers.append(keras.layers.Flatten(name="flatten"))
    layers += [*kinds.dense_layers(units), *dropped.layers("dropout_1")]
    return keras.Sequential([*layers, *last_layers(outputs, output_activation)], name="cnn")


@named_model
def separable_cnn(
    input_shape: tuple[int, ...],
    outputs: int,
    output_activation: str | None = None,
    preprocessing: Sequence[Any] = (),
    *,
    filters: int = 32,
    units: int = 32,
    activation: str = "relu",
    initializer: str = "auto",
    batch_norm: bool = False,
    dropout: float = 0.0,
    dropout_kind: str = "auto",
) -> Any:
    """Return a convolutional network of depthwise separable convolutions, which has few parameters.

    With 32 filters, its layers are 3x3 separable convolutions with 32 and 64 filters, 2x2 max
    pooling, convolutions with 64 and 128 filters, pooling, convolutions with 64 and 128 filters,
    the mean of each feature map, a dense layer, and the output layer. A separable convolution
    convolves each channel separately, and then mixes the channels at each pixel: it has 9 C + C F
    weights instead of 9 C F, for C channels and F filters.

    Args:
        input_shape: shape of one image: (height, width) or (height, width, channels), with height
            and width of at least 4.
        outputs: number of units of the output layer, at least 1.
        output_activation: "softmax", "sigmoid" or None (default) for raw outputs. It becomes a
            separate last layer, "probabilities".
        preprocessing: first layers, such as `keras.layers.Rescaling`. Default: none.
        filters: number of filters of the first convolution; the others have 2 and 4 times as many.
            Default: 32.
        units: number of units of the dense layer. Default: 32.
        activation: activation of the hidden layers, as in `mlp`, without maxout. Default: "relu".
        initializer: initializer of the 1x1 convolutions and the dense layer, as in `mlp`; the
            kernels of channels are normal with variance 1/9, of their 9 inputs. Default: "auto".
        batch_norm: whether convolutions are normalized before their activation. Default: False.
        dropout: fraction of the dense layer's units to drop, in [0, 1). Default: 0.
        dropout_kind: as in `cnn`. Default: "auto".

    Returns:
        A built `keras.Sequential` named "separable_cnn".

    Raises:
        ValueError: the examples are not images of at least 4x4, a number is out of its range, or
            Keras has no such activation or initializer.

    Example:
        >>> tl.models.separable_cnn((28, 28), 10, "softmax").count_params()
        38867

    References:
        Chollet 2017, "Xception: Deep Learning with Depthwise Separable Convolutions".
    """
    check_sides("separable_cnn", input_shape, _smallest_side(2, 0))
    check_normalization(activation, batch_norm)
    dropped = chosen_dropout(dropout, dropout_kind, activation)
    kernel = kernel_initializer(initializer, activation)
    kinds = Convolutions(kernel, activation, batch_norm, separable=True)
    layers = first_layers(input_shape, preprocessing) + channels(input_shape)
    for block, factors in enumerate([(1, 2), (2, 4), (2, 4)]):
        for i, factor in enumerate(factors, start=2 * block + 1):
            layers += kinds.layers(i, filters * factor)
        if block < 2:
            layers.append(keras.layers.MaxPooling2D(name=f"pool_{block + 1}"))
        layers += dropped.spatial_layers(f"dropout_{block + 1}", 3)
    layers.append(keras.layers.GlobalAveragePooling2D(name="mean"))
    layers += [*kinds.dense_layers(units), *dropped.layers("dropout_1")]
    last = last_layers(outputs, output_activation)
    return keras.Sequential([*layers, *last], name="separable_cnn")


def _smallest_side(depth: int, lost: int) -> int:
    """Return the smallest height of an image that has a pixel left after all blocks.

    Args:
        depth: number of blocks; each ends in 2x2 pooling.
        lost: number of pixels by which the convolutions of a block reduce the height.
    """
    side = 1
    for _ in range(depth):
        side = 2 * side + lost
    return side
