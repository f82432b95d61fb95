"""The layers of a Keras model: its logits, its preprocessing."""

from __future__ import annotations

from typing import Any

import keras

LOGITS_ACTIVATIONS = ("softmax", "sigmoid")


def logits_model(model: Any) -> Any | None:
    """Return the model without its last layer, where that layer is a softmax or sigmoid.

    A cross-entropy is exact on logits, whereas probabilities have to be clipped. Both models share
    their variables: train the returned one, save the other.

    Args:
        model: a Keras model. A softmax that is an argument of a `Dense` layer does not count.

    Returns:
        A `keras.Model`; None if the last layer is something else, or if Keras does not know the
        order of the layers, as in a subclass with its own `call`.

    Example:
        >>> model = tl.models.mlp((4,), 3, "softmax", hidden=())
        >>> tl.models.logits_model(model).layers[-1].name
        'outputs'
        >>> tl.models.logits_model(tl.models.mlp((4,), 3)) is None
        True
    """
    if not getattr(model, "inputs", None):
        return None
    last = model.layers[-1]
    kind = type(last).__name__
    function = getattr(getattr(last, "activation", None), "__name__", "")
    if kind == "Softmax" or (kind == "Activation" and function in LOGITS_ACTIVATIONS):
        sequential = isinstance(model, keras.Sequential)
        inputs = model.inputs[0] if sequential else model.input
        return keras.Model(inputs, last.input, name=model.name)
    return None


def has_preprocessing(model: Any) -> bool:
    """Return whether the model begins with a `Rescaling` or a `Normalization` layer.

    Args:
        model: a Keras model.

    Returns:
        True if its first layer after the input is one of the two.

    Example:
        >>> import keras
        >>> scale = keras.layers.Rescaling(1 / 255)
        >>> tl.models.has_preprocessing(tl.models.mlp((4,), 3, None, [scale]))
        True
    """
    kinds = [type(layer).__name__ for layer in model.layers]
    first = next((kind for kind in kinds if kind != "InputLayer"), "")
    return first in ("Rescaling", "Normalization")
