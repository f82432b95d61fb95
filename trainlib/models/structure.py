"""Properties of the layers of a Keras model: its logits, and layers that scale its input."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import keras

from trainlib.training.keras_private import all_layers, outputs_of, source_of

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
        A `keras.Model`. None if the last layer of an output is not such an activation, or if the
        model is not a graph of layers, such as a subclass with its own `call`.

    Example:
        >>> model = tl.models.mlp((4,), 3, "softmax", hidden=())
        >>> tl.models.logits_model(model).layers[-1].name
        'outputs'
        >>> tl.models.logits_model(tl.models.mlp((4,), 3)) is None
        True
    """
    if not getattr(model, "inputs", None):
        return None
    kinds = (activation,) if activation else LOGITS_ACTIVATIONS
    if len(model.outputs) == 1:
        logits = _before(model.layers[-1], kinds)
    else:
        logits = keras.tree.map_structure(
            lambda output: _before(source_of(output)[0], kinds), outputs_of(model)
        )
    if any(x is None for x in keras.tree.flatten(logits)):
        return None
    inputs = model.inputs[0] if isinstance(model, keras.Sequential) else model.input
    return keras.Model(inputs, logits, name=model.name)


def _before(layer: Any, kinds: Sequence[str]) -> Any | None:
    """Return the input of a softmax or a sigmoid; None for another layer."""
    kind = type(layer).__name__
    function = getattr(getattr(layer, "activation", None), "__name__", "")
    if kind == "Softmax":
        function = "softmax"
    elif kind != "Activation":
        return None
    return layer.input if function in kinds else None


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
