"""Properties of the layers of a Keras model: its logits, and layers that scale its input."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import keras

from trainlib.training.keras_private import (
    all_layers,
    called_again,
    calls_of,
    graph_of_layers,
    inputs_of_call,
    outputs_of,
    source_of,
)
from trainlib.training.output_names import is_graph_of_layers

LOGITS_ACTIVATIONS = ("softmax", "sigmoid")
TEMPERATURE = "temperature"
"""Name of the layer that divides the logits of a calibrated model."""


def logits_model(model: Any, activation: str | None = None) -> Any | None:
    """Return the model without its last layer, where that layer is a softmax or sigmoid.

    A cross-entropy of logits is exact, whereas probabilities have to be clipped. Both models share
    their variables: train the returned one, and save the other.

    Args:
        model: a Keras model. A softmax that is an argument of a `Dense` layer does not count.
        activation: "softmax" or "sigmoid", the only one to remove. Default: None, either.

    Returns:
        A `keras.Model`. None if the last layer of an output, in a nested model or not, is not such
        an activation, or if the model is not a graph of layers, such as a subclass with its own
        `call`.

    Example:
        >>> model = tl.models.mlp((4,), 3, "softmax", hidden=())
        >>> tl.models.logits_model(model).layers[-1].name
        'outputs'
        >>> tl.models.logits_model(tl.models.mlp((4,), 3)) is None
        True
    """
    kinds = (activation,) if activation else LOGITS_ACTIVATIONS
    return without_last(model, lambda layer: _probabilities(layer) in kinds)


def without_last(model: Any, is_removed: Callable[[Any], bool]) -> Any | None:
    """Return the model without the last layer of each output, also where it is in a nested model.

    Args:
        model: a Keras model.
        is_removed: whether a layer is one to remove.

    Returns:
        A `keras.Model`, which shares its variables with the model. None if another layer is the
        last one of an output, or the model is not a graph of layers.
    """
    if not is_graph_of_layers(model):
        return None
    outputs = outputs_of(model)
    before = [_before(model, output, is_removed) for output in keras.tree.flatten(outputs)]
    if any(x is None for x in before):
        return None
    inputs = model.inputs[0] if isinstance(model, keras.Sequential) else model.input
    return keras.Model(inputs, keras.tree.pack_sequence_as(outputs, before), name=model.name)


def _before(model: Any, output: Any, is_removed: Callable[[Any], bool]) -> Any | None:
    """Return the tensor before the last layer of an output; None if it is not one to remove."""
    layer, node, _ = source_of(output)
    if not is_graph_of_layers(layer):
        return inputs_of_call(layer, node)[0] if is_removed(layer) else None
    calls = [call for call in calls_of(graph_of_layers(model)) if call.operation is layer]
    if len(calls) > 1 or len(layer.outputs) > 1:  # the model would have two parts of one name
        return None
    part = without_last(layer, is_removed)
    return None if part is None else keras.tree.flatten(called_again(layer, node, part))[0]


def last_layer(model: Any) -> Any:
    """Return the layer that makes the first output of a model, or of a nested one at its end."""
    layer = source_of(model.outputs[0])[0]
    return last_layer(layer) if is_graph_of_layers(layer) else layer


def _probabilities(layer: Any) -> str:
    """Return the activation that a layer consists of; "" for other layers."""
    kind = type(layer).__name__
    if kind == "Softmax":
        return "softmax"
    return getattr(layer.activation, "__name__", "") if kind == "Activation" else ""


def has_preprocessing(model: Any) -> bool:
    """Return whether a model has layers for the preprocessing of its input.

    Such layers are `Rescaling`, `Normalization` and `Embedding`.

    Args:
        model: a Keras model.

    Returns:
        True if it has such a layer, possibly in a nested model or a wrapper. A layer at the end of
        the model, which scales predictions, does not count; neither do `Normalization(invert=True)`
        and the layer "temperature".

    Example:
        >>> import keras
        >>> scale = keras.layers.Rescaling(1 / 255)
        >>> tl.models.has_preprocessing(tl.models.mlp((4,), 3, None, [scale]))
        True
    """
    ends = {id(layer) for layer in _last_layers(model)}
    return any(
        isinstance(layer, keras.layers.Embedding)
        or _scales(layer)
        and not getattr(layer, "invert", False)
        and id(layer) not in ends
        for layer in all_layers(model)
    )


def _last_layers(model: Any) -> Iterator[Any]:
    """Yield the layers that make the outputs of a model, and of nested models at its end."""
    for output in keras.tree.flatten(getattr(model, "outputs", None) or []):
        layer = source_of(output)[0]
        yield layer
        if isinstance(layer, keras.Model):
            yield from _last_layers(layer)


def _scales(layer: Any) -> bool:
    """Return whether a layer scales its input."""
    kinds = (keras.layers.Rescaling, keras.layers.Normalization)
    return isinstance(layer, kinds) and layer.name != TEMPERATURE
