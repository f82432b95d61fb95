"""Keras models by name, and models of one's own."""

from __future__ import annotations

import difflib
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras

from trainlib.core.checks import check_number
from trainlib.user_code import load_own

LOGITS_ACTIVATIONS = ("softmax", "sigmoid")


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
    """A multilayer perceptron: dense layers of the given widths, then the outputs.

    Args:
        input_shape: of one example; flattened.
        outputs: units of the last layer.
        output_activation: "softmax", "sigmoid" or None; a layer of its own, "probabilities".
        preprocessing: layers to begin with, such as `keras.layers.Rescaling`.
        hidden: widths of the hidden layers; none makes a linear model.
        activation: of the hidden layers; a name that Keras knows.
        initializer: of the kernels; "auto" takes He's for ReLU and its kin, LeCun's for SELU,
            Glorot's otherwise.
        dropout: share of each hidden layer's units to drop, in [0, 1).
        batch_norm: whether to normalize each hidden layer before its activation.
    """
    check_number("dropout", dropout, at_least=0, below=1)
    for width in hidden:
        check_number("hidden", width, at_least=1)
    kernel = _initializer(initializer, activation)
    layers = _head(input_shape, preprocessing)
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
    return keras.Sequential([*layers, *_tail(outputs, output_activation)], name="mlp")


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
    """A small convolutional net: Conv 3x3 - MaxPool - Flatten - Dense - Dropout - outputs.

    Args:
        input_shape: of one image: (height, width) or (height, width, channels).
        outputs, output_activation, preprocessing, activation, initializer: as in `mlp`.
        filters: of the convolution.
        units: of the dense layer.
        dropout: share of the dense layer's units to drop, in [0, 1).
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
    layers = _head(input_shape, preprocessing)
    if len(input_shape) == 2:
        layers.append(keras.layers.Reshape((*input_shape, 1), name="channels"))
    layers += [
        keras.layers.Conv2D(
            filters, 3, activation=function, kernel_initializer=kernel, name="conv_1"
        ),
        keras.layers.MaxPooling2D(name="pool_1"),
        keras.layers.Flatten(name="flatten"),
        keras.layers.Dense(units, activation=function, kernel_initializer=kernel, name="hidden_1"),
    ]
    if dropout:
        layers.append(keras.layers.Dropout(dropout, name="dropout_1"))
    return keras.Sequential([*layers, *_tail(outputs, output_activation)], name="cnn")


MODELS: Mapping[str, Callable[..., Any]] = {"mlp": mlp, "cnn": cnn}


def logits(model: Any) -> Any | None:
    """The model without its last layer, where that layer is a softmax or sigmoid of its own.

    Both share their variables. The loss is exact on logits, where probabilities have to be
    clipped; what is saved is the whole model. None where the last layer is something else, or
    where Keras does not know the order of the layers: in a model with a `call` of its own.
    """
    if not getattr(model, "inputs", None):
        return None
    last = model.layers[-1]
    kind = type(last).__name__
    function = getattr(getattr(last, "activation", None), "__name__", "")
    if kind == "Softmax" or (kind == "Activation" and function in LOGITS_ACTIVATIONS):
        one = isinstance(model, keras.Sequential)
        inputs = model.inputs[0] if one else model.input
        return keras.Model(inputs, last.input, name=model.name)
    return None


def has_preprocessing(model: Any) -> bool:
    """Whether the model begins with a layer that scales its input."""
    kinds = [type(layer).__name__ for layer in model.layers]
    first = next((kind for kind in kinds if kind != "InputLayer"), "")
    return first in ("Rescaling", "Normalization")


def is_own(name: str) -> bool:
    """Whether a name is of a model of one's own: a `.keras` file, or `module:function`."""
    return name.endswith(".keras") or ":" in name


def load_model(path: str, safe_mode: bool = True) -> Any:
    """A model from a `.keras` file.

    Args:
        path: of the file.
        safe_mode: whether code in the file, such as that of a `Lambda` layer, is refused; without
            it, loading a file runs what its maker wrote.

    Raises:
        FileNotFoundError, ValueError: there is no such file, or it holds no model.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"model {path}: there is no such file")
    try:
        if not zipfile.is_zipfile(path):
            raise ValueError("it is no zip archive")
        return keras.saving.load_model(path, compile=False, safe_mode=safe_mode)
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        hint = "; if you trust its maker: safe_mode=false" if "unsafe" in str(error) else ""
        raise ValueError(
            f"model {path}: not a Keras model that can be loaded: {reason}{hint}"
        ) from error


def from_function(spec: str, input_shape: tuple[int, ...], outputs: int) -> Any:
    """The model that `module:function` makes when called with (input_shape, outputs).

    Modules are looked for in the working directory too.

    Raises:
        ValueError: no such module or function, or what it makes is no Keras model.
    """
    function = load_own("model", spec)
    model = function(input_shape, outputs)
    if not isinstance(model, keras.Model):
        raise ValueError(f"model {spec}: must return a keras.Model, got {type(model).__name__}")
    return model


def _head(input_shape: tuple[int, ...], preprocessing: Sequence[Any]) -> list[Any]:
    return [keras.Input(input_shape, name="input"), *preprocessing]


def _tail(outputs: int, output_activation: str | None) -> list[Any]:
    layers = [keras.layers.Dense(outputs, name="outputs")]
    if output_activation is not None:
        layers.append(keras.layers.Activation(output_activation, name="probabilities"))
    return layers


def _activation(name: str) -> Any:
    some = "relu, leaky_relu, elu, selu, gelu, silu, tanh, sigmoid"
    return _from_keras("activation", keras.activations, name, some)


def _initializer(name: str, activation: str) -> str:
    if name == "auto":
        kin = ("relu", "relu6", "leaky_relu", "elu", "gelu", "silu", "swish", "mish")
        name = "he_normal" if activation in kin else "glorot_uniform"
        name = "lecun_normal" if activation == "selu" else name
    some = "auto, he_normal, he_uniform, glorot_normal, glorot_uniform, lecun_normal, lecun_uniform"
    # Also for "auto": Keras draws a seed here, and a name must give what "auto" gives.
    _from_keras("initializer", keras.initializers, name, some)
    return name


def _from_keras(kind: str, module: Any, name: str, some: str) -> Any:
    """What a module of Keras has under a name."""
    try:
        return module.get(name)
    except (ValueError, KeyError):  # KeyError: one that cannot be made without arguments
        names = [known for known in dir(module) if known.islower() and known != name]
        near = difflib.get_close_matches(name, names, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"unknown {kind} {name!r}: {some} are some of Keras's{hint}") from None
