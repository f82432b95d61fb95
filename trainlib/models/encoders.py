"""The hidden layers of a model as an encoder, for training without labels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import keras

from trainlib.models.layers import chain
from trainlib.models.transfer import features
from trainlib.training.keras_private import (
    all_layers,
    inputs_of_call,
    preprocesses_inputs,
    source_of,
)
from trainlib.training.trainable import parameters_of

NOISE = ("dropout", "gaussian_noise")
"""Kinds of noise in the inputs of an encoder."""


class Encoder(NamedTuple):
    """The hidden layers of a model as an encoder, after the layers that scale its input.

    Attributes:
        scaling: model from inputs to scaled inputs.
        hidden: model from scaled inputs to the features before the head.
        parts: a model for each dense layer, from the output of the previous part to its own; () if
            the layers are not a chain of dense layers.
    """

    scaling: Any
    hidden: Any
    parts: tuple[Any, ...]


def encoder_of(model: Any) -> Encoder:
    """Return the hidden layers of a model as an encoder, which shares their variables.

    Args:
        model: a graph of layers with one input and one output; its last layer with parameters is
            the head.

    Raises:
        ValueError: the model is not such a graph, or has no hidden layer.
    """
    if len(getattr(model, "inputs", None) or ()) != 1:
        raise ValueError(f"model {model.name!r} must be a graph of layers with one input")
    body = features(model)
    if any(isinstance(layer, keras.layers.Embedding) for layer in all_layers(body)):
        raise ValueError(f"model {model.name!r} takes integers, which cannot be reconstructed")
    layers = _chain_to(body.outputs[0])
    scaled = _scaled(body)
    inputs = body.inputs[0]
    hidden = keras.Model(scaled, body.outputs[0], name="encoder")
    return Encoder(
        keras.Model(inputs, keras.layers.Identity()(scaled), name="scaling"),
        hidden,
        () if layers is None else tuple(_parts(scaled, layers)),
    )


def reconstruction_model(
    encoder: Any, hidden: Sequence[int], seed: int, noise: float = 0.0, kind: str = NOISE[0]
) -> Any:
    """Return a model of an encoder, with noise before it and a decoder after it.

    Args:
        encoder: model of inputs of any shape.
        hidden: widths of the decoder's hidden layers, with ReLU.
        seed: seed of the decoder's initial values.
        noise: fraction of the inputs that is dropped, or standard deviation of the noise. Default:
            0.
        kind: "dropout" (default) or "gaussian_noise".

    Returns:
        A `keras.Model` whose output is the flat reconstruction.
    """
    inputs = keras.Input(encoder.inputs[0].shape[1:], name="scaled")
    layers: list[Any] = []
    if noise:
        made = {"dropout": keras.layers.Dropout, "gaussian_noise": keras.layers.GaussianNoise}
        layers.append(made[kind](noise, name="disturbed_input"))
    layers.append(encoder)
    if len(encoder.outputs[0].shape) > 2:
        layers.append(keras.layers.Flatten(name="flat_features"))
    for i, width in enumerate(hidden, start=1):
        he = keras.initializers.HeNormal(seed + i)
        layers.append(keras.layers.Dense(width, "relu", kernel_initializer=he, name=f"decoder_{i}"))
    values, glorot = math.prod(encoder.inputs[0].shape[1:]), keras.initializers.GlorotUniform(seed)
    layers.append(keras.layers.Dense(values, kernel_initializer=glorot, name="reconstruction"))
    return keras.Model(inputs, chain(inputs, layers), name="autoencoder")


def decoder_widths(encoder: Any) -> list[int]:
    """Return the widths of an encoder's dense layers, except the last one, in reverse."""
    widths = [x.units for x in all_layers(encoder) if isinstance(x, keras.layers.Dense)]
    return widths[-2::-1]


def _scaled(model: Any) -> Any:
    """Return the tensor after the layers that scale a model's input."""
    tensor = model.inputs[0]
    for layer in model.layers:
        if isinstance(layer, keras.layers.InputLayer):
            continue
        is_bound = layer.name.endswith("bound")
        if not (preprocesses_inputs(layer) or _is_scale(layer) or is_bound):
            return tensor
        tensor = layer.output
    return tensor


def _is_scale(layer: Any) -> bool:
    return isinstance(layer, (keras.layers.Rescaling, keras.layers.Normalization))


def _chain_to(output: Any) -> list[Any] | None:
    """Return the layers from the input to a tensor; None if they are not a chain."""
    layers: list[Any] = []
    while True:
        layer, node, _ = source_of(output)
        if isinstance(layer, keras.layers.InputLayer):
            return layers[::-1]
        given = inputs_of_call(layer, node)
        if len(given) != 1 or isinstance(layer, keras.Model):
            return None
        layers.append(layer)
        output = given[0]


def _parts(scaled: Any, layers: Sequence[Any]) -> list[Any]:
    """Return a model for each dense layer of a chain and the layers after it; [] if no chain."""
    outputs = [layer.output for layer in layers]
    names = [id(x) for x in outputs]
    first = names.index(id(scaled)) + 1 if id(scaled) in names else 0
    rest = list(layers)[first:]
    kernels = [
        i for i, layer in enumerate(rest) if any(_is_kernel(v) for v in parameters_of(layer))
    ]
    if not all(isinstance(rest[i], keras.layers.Dense) for i in kernels):
        return []
    models, tensor = [], scaled
    for number, end in enumerate([*kernels[1:], len(rest)], start=1):
        models.append(keras.Model(tensor, rest[end - 1].output, name=f"part_{number}"))
        tensor = rest[end - 1].output
    return models


def _is_kernel(variable: Any) -> bool:
    return len(variable.shape) > 1
