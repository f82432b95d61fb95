"""Layers that the named models share: the first and the last, activations, initializers."""

from __future__ import annotations

import difflib
import inspect
import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import keras

from trainlib.models.hints import hint
from trainlib.training.keras_settings import check_data_format

RELU_LIKE = ("relu", "relu6", "leaky_relu", "prelu", "elu", "gelu", "silu", "swish", "mish")
"""Activations for which the initializer "auto" is He initialization."""
ACTIVATIONS = "relu, leaky_relu, prelu, elu, selu, gelu, silu, tanh, sigmoid, softmax, maxout"
INITIALIZERS = (
    "auto, he_normal, he_uniform, glorot_normal, glorot_uniform, lecun_normal, lecun_uniform, "
    "orthogonal, variance_scaling"
)
MAXOUT = "maxout"
PIECES = 2
"""Default number of linear functions in a maxout unit, which returns their maximum."""
_OPTIONS: Mapping[str, Sequence[str]] = {
    "relu": ("max_value", "negative_slope", "threshold"),
    "leaky_relu": ("negative_slope",),
    "elu": ("alpha",),
    "prelu": ("alpha",),
    MAXOUT: ("pieces",),
}
"""The options of activations, by name; other activations have none."""


def first_layers(
    input_shape: tuple[int, ...],
    preprocessing: Sequence[Any],
    name: str = "input",
    dtype: str | None = None,
) -> list[Any]:
    """Return the input and the preprocessing layers."""
    check_data_format()
    return [keras.Input(input_shape, dtype=dtype, name=name), *preprocessing]


def flatten(input_shape: tuple[int, ...]) -> list[Any]:
    """Return the layer that flattens an example, as a list; [] for an example with one axis."""
    return [keras.layers.Flatten(name="flatten")] if len(input_shape) > 1 else []


def channels(input_shape: tuple[int, ...]) -> list[Any]:
    """Return the layer that adds a missing axis of channels, as a list; [] if it is not missing."""
    if len(input_shape) > 2:
        return []
    return [keras.layers.Reshape((*input_shape, 1), name="channels")]


def last_layers(
    outputs: int, output_activation: str | None, kernel: Any = "glorot_uniform"
) -> list[Any]:
    """Return the output layer and its activation."""
    layers = [keras.layers.Dense(outputs, kernel_initializer=kernel, name="outputs")]
    if output_activation is not None:
        layers.append(keras.layers.Activation(output_activation, name="probabilities"))
    return layers


def chain(x: Any, layers: Iterable[Any]) -> Any:
    """Return the output of layers, called one after another, for an input."""
    for layer in layers:
        x = layer(x)
    return x


def free_name(name: str, used: set[str]) -> str:
    """Return a name that no layer has."""
    names = itertools.chain([name], (f"new_{name}_{i}" for i in itertools.count(1)))
    return next(x for x in names if x not in used)


def name_and_options(kind: str, text: str) -> tuple[str, dict[str, Any]]:
    """Parse a name with options, such as `elu:alpha=0.5`.

    Raises:
        ValueError: the text has another form.
    """
    name, _, rest = text.partition(":")
    options: dict[str, Any] = {}
    for part in rest.split(",") if rest else ():
        option, equals, value = part.partition("=")
        if not option or not equals or not value:
            raise ValueError(
                f"{kind} {text!r}: options are written as in {name}:option=value,option=value"
            )
        try:
            number = float(value)
            options[option] = int(number) if number == int(number) and "." not in value else number
        except (ValueError, OverflowError):
            options[option] = value
    return name, options


def is_plain(activation: str) -> bool:
    """Return whether an activation is a function of Keras, without options or weights."""
    return ":" not in activation and activation not in ("prelu", MAXOUT)


def activation_function(text: str) -> Any:
    """Return Keras's activation with a name."""
    return _get("activation", keras.activations, text, ACTIVATIONS)


def activation_layer(text: str, name: str, image_axes: int = 0) -> Any:
    """Return the layer of an activation other than maxout, which needs its own dense layer.

    Args:
        text: name of the activation, with options.
        name: name of the layer.
        image_axes: number of axes of height and width, which share the slopes of PReLU. Default: 0.

    Raises:
        ValueError: the activation or an option does not exist.
    """
    function, options = name_and_options("activation", text)
    for option in options:
        if option not in _OPTIONS.get(function, ()):
            allowed = ", ".join(_OPTIONS.get(function, ())) or "none"
            raise ValueError(f"activation {text!r}: {function} has the options {allowed}")
    if function == MAXOUT:
        raise ValueError("activation maxout is for dense hidden layers: of mlp and wide_deep")
    if function == "prelu":
        start = keras.initializers.Constant(options.get("alpha", 0.0))
        shared = list(range(1, image_axes + 1)) or None
        return keras.layers.PReLU(start, shared_axes=shared, name=name)
    if not options:
        return keras.layers.Activation(activation_function(function), name=name)
    kinds = {
        "relu": keras.layers.ReLU,
        "leaky_relu": keras.layers.LeakyReLU,
        "elu": keras.layers.ELU,
    }
    return kinds[function](name=name, **options)


def normalization(name: str) -> Any:
    """Return batch normalization of feature maps, with a momentum that suits short runs, too."""
    return keras.layers.BatchNormalization(momentum=0.9, name=name)


def check_normalization(activation: str, batch_norm: bool) -> None:
    """Warn of batch normalization with SELU, which does not need it."""
    if batch_norm and activation == "selu":
        hint("activation=selu normalizes by itself: leave batch_norm out")


def maxout_pieces(activation: str) -> int:
    """Return the number of pieces of maxout units; 1 for another activation."""
    name, options = name_and_options("activation", activation)
    if name != MAXOUT:
        return 1
    pieces = options.pop("pieces", PIECES)
    if options or not isinstance(pieces, int) or pieces < 2:
        raise ValueError(f"activation {activation!r}: maxout has the option pieces, at least 2")
    return pieces


def kernel_initializer(text: str, activation: str) -> Any:
    """Return an initializer for Keras's layers; "auto" is resolved by the activation.

    Raises:
        ValueError: the initializer or an option does not exist.
    """
    function = name_and_options("activation", activation)[0]
    name, options = name_and_options("initializer", text)
    if name == "auto":
        name = "he_normal" if function in RELU_LIKE else "glorot_uniform"
        name = "lecun_normal" if function == "selu" else name
    if function == "selu" and not name.startswith("lecun"):
        hint(
            "activation=selu keeps the variance of its inputs with LeCun initialization, not with "
            f"{name}: initializer=lecun_normal"
        )
    # Checked for "auto" too: Keras draws a seed here, so a name and "auto" draw the same numbers.
    _get("initializer", keras.initializers, name, INITIALIZERS)
    if not options:
        return name
    kind = type(keras.initializers.get(name))
    allowed = [option for option in inspect.signature(kind).parameters if option != "seed"]
    unknown = [option for option in options if option not in allowed]
    if unknown:
        raise ValueError(
            f"initializer {text!r}: {name} has the options {', '.join(allowed) or 'none'}"
        )
    try:
        kind(**options)
    except (ValueError, TypeError) as error:
        reason = str(error).strip().split("\n")[0]
        raise ValueError(f"initializer {text!r}: {reason}") from None
    return {"class_name": name, "config": options}


def _get(kind: str, module: Any, name: str, some: str) -> Any:
    """Return the object with a name in a module of Keras."""
    try:
        return module.get(name)
    except (ValueError, KeyError):  # KeyError: it cannot be built without arguments
        names = [known for known in dir(module) if known.islower() and known != name]
        near = difflib.get_close_matches(name, names, n=1)
        meant = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"unknown {kind} {name!r}: {some} are some of Keras's{meant}") from None
