"""The models that have a name: `mlp` and `cnn`.

To add a model, write a function of `(input_shape, outputs, output_activation, preprocessing)` and
keyword hyperparameters, and enter it in `MODELS`.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras

from trainlib.core.checks import check_number
from trainlib.training.keras_settings import check_data_format

RELU_LIKE = ("relu", "relu6", "leaky_relu", "elu", "gelu", "silu", "swish", "mish")
"""Activations for which "auto" takes He initialization."""
ACTIVATIONS = "relu, leaky_relu, elu, selu, gelu, silu, tanh, sigmoid"
INITIALIZERS = (
    "auto, he_normal, he_uniform, glorot_normal, glorot_uniform, lecun_normal, lecun_uniform"
)


def mlp(
    input_shape: tuple[int, ...],
    outputs: int,
    output_activation: str | None = None,
    preprocessing: Sequence[Any] = (),
    *,
    hidden: Sequence[int] = (300, 100),
    activation: str = "relu",
    initializer: str = "auto",
    dropout: float = 0.0,
    batch_norm: bool = False,
) -> Any:
    """Return a multilayer perceptron: hidden dense layers, then the output layer.

    Args:
        input_shape: shape of one example; flattened if it has more than one axis.
        outputs: number of units of the output layer, at least 1.
        output_activation: "softmax", "sigmoid" or None (default) for raw outputs. It becomes a
            separate last layer, "probabilities".
        preprocessing: first layers, such as `keras.layers.Rescaling`. Default: none.
        hidden: widths of the hidden layers. Default: (300, 100); () makes a linear model.
        activation: activation of the hidden layers by its Keras name. Default: "relu".
        initializer: initializer of the hidden kernels by its Keras name. The default "auto" is
            `he_normal` for ReLU and its variants, `lecun_normal` for SELU, `glorot_uniform`
            otherwise.
        dropout: fraction of each hidden layer's units to drop, in [0, 1). Default: 0.
        batch_norm: whether each hidden layer is normalized before its activation. Default: False.

    Returns:
        A built `keras.Sequential` named "mlp".

    Raises:
        ValueError: a number is out of its range, or Keras has no such activation or initializer.

    Example:
        >>> model = tl.models.mlp((28, 28), 10, "softmax", hidden=(64,), dropout=0.2)
        >>> [layer.name for layer in model.layers]
        ['flatten', 'hidden_1', 'activation_1', 'dropout_1', 'outputs', 'probabilities']
    """
    check_number("dropout", dropout, at_least=0, below=1)
    for width in hidden:
        check_number("hidden", width, at_least=1)
    kernel = _initializer(initializer, activation)
    layers = _first_layers(input_shape, preprocessing)
    if len(input_shape) > 1:
        layers.append(keras.layers.Flatten(name="flatten"))
    for i, width in enumerate(hidden, start=1):
        layers.append(
            keras.layers.Dense(
                width, kernel_initializer=kernel, use_bias=not batch_norm, name=f"hidden_{i}"
            )
        )
        if batch_norm:
            layers.append(keras.layers.BatchNormalization(name=f"batch_norm_{i}"))
        layers.append(keras.layers.Activation(_activation(activation), name=f"activation_{i}"))
        if dropout:
            layers.append(keras.layers.Dropout(dropout, name=f"dropout_{i}"))
    return keras.Sequential([*layers, *_last_layers(outputs, output_activation)], name="mlp")


def cnn(
    input_shape: tuple[int, ...],
    outputs: int,
    output_activation: str | None = None,
    preprocessing: Sequence[Any] = (),
    *,
    filters: int = 32,
    units: int = 128,
    activation: str = "relu",
    initializer: str = "auto",
    dropout: float = 0.1,
) -> Any:
    """Return a small convolutional network.

    Its layers: 3x3 convolution, 2x2 max pooling, flatten, dense, dropout, output layer.

    Args:
        input_shape: shape of one image: (height, width) or (height, width, channels), with height
            and width of at least 4.
        outputs: number of units of the output layer, at least 1.
        output_activation: "softmax", "sigmoid" or None (default) for raw outputs. It becomes a
            separate last layer, "probabilities".
        preprocessing: first layers, such as `keras.layers.Rescaling`. Default: none.
        filters: number of filters of the convolution. Default: 32.
        units: number of units of the dense layer. Default: 128.
        activation: activation of both hidden layers by its Keras name. Default: "relu".
        initializer: initializer of their kernels, as in `mlp`. Default: "auto".
        dropout: fraction of the dense layer's units to drop, in [0, 1). Default: 0.1.

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
    if len(input_shape) not in (2, 3):
        raise ValueError(
            f"model cnn needs images, of 2 or 3 axes; the examples have shape {input_shape}"
        )
    if min(input_shape[:2]) < 4:
        raise ValueError(
            f"model cnn needs images of at least 4x4; the examples have shape {input_shape}"
        )
    check_number("dropout", dropout, at_least=0, below=1)
    check_number("filters", filters, at_least=1)
    check_number("units", units, at_least=1)
    kernel, function = _initializer(initializer, activation), _activation(activation)
    options = {"activation": function, "kernel_initializer": kernel}
    layers = _first_layers(input_shape, preprocessing)
    if len(input_shape) == 2:
        layers.append(keras.layers.Reshape((*input_shape, 1), name="channels"))
    layers += [
        keras.layers.Conv2D(filters, 3, name="conv_1", **options),
        keras.layers.MaxPooling2D(name="pool_1"),
        keras.layers.Flatten(name="flatten"),
        keras.layers.Dense(units, name="hidden_1", **options),
    ]
    if dropout:
        layers.append(keras.layers.Dropout(dropout, name="dropout_1"))
    return keras.Sequential([*layers, *_last_layers(outputs, output_activation)], name="cnn")


MODELS: Mapping[str, Callable[..., Any]] = {"mlp": mlp, "cnn": cnn}
"""The models by name."""


def _first_layers(input_shape: tuple[int, ...], preprocessing: Sequence[Any]) -> list[Any]:
    """Return the input and the preprocessing layers."""
    check_data_format()
    return [keras.Input(input_shape, name="input"), *preprocessing]


def _last_layers(outputs: int, output_activation: str | None) -> list[Any]:
    """Return the output layer and its activation."""
    layers = [keras.layers.Dense(outputs, name="outputs")]
    if output_activation is not None:
        layers.append(keras.layers.Activation(output_activation, name="probabilities"))
    return layers


def _activation(name: str) -> Any:
    """Return Keras's activation of a name."""
    return _get("activation", keras.activations, name, ACTIVATIONS)


def _initializer(name: str, activation: str) -> str:
    """Return the name of the initializer, which "auto" chooses by the activation."""
    if name == "auto":
        name = "he_normal" if activation in RELU_LIKE else "glorot_uniform"
        name = "lecun_normal" if activation == "selu" else name
    # Checked for "auto" too: Keras draws a seed here, so a name and "auto" draw the same numbers.
    _get("initializer", keras.initializers, name, INITIALIZERS)
    return name


def _get(kind: str, module: Any, name: str, some: str) -> Any:
    """Return the object of a name in a module of Keras."""
    try:
        return module.get(name)
    except (ValueError, KeyError):  # KeyError: it cannot be built without arguments
        names = [known for known in dir(module) if known.islower() and known != name]
        near = difflib.get_close_matches(name, names, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"unknown {kind} {name!r}: {some} are some of Keras's{hint}") from None
