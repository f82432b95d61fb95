"""The end of a model: the activation of its last layer, and the logits before it in a graph."""

from __future__ import annotations

from typing import Any, NamedTuple

import keras
import tensorflow as tf

from trainlib.core.types import Tensor
from trainlib.training.keras_private import inputs_of_call, logits_of, outputs_of, source_of
from trainlib.training.output_names import OutputOf, is_graph_of_layers

PROBABILITIES = ("softmax", "sigmoid", "hard_sigmoid", "sparsemax", "sparse_sigmoid")
"""Activations whose values are probabilities."""

_LAYERS_OF_ONE_INPUT = ("Reshape", "Flatten", "Permute", "Dropout", "Identity", "RepeatVector")
"""Keras's layers that change no value in inference."""
_LAYERS_WITH_ACTIVATION = (
    "Activation",
    "Dense",
    "EinsumDense",
    "Conv1D",
    "Conv2D",
    "Conv3D",
    "Conv1DTranspose",
    "Conv2DTranspose",
    "Conv3DTranspose",
    "SeparableConv1D",
    "SeparableConv2D",
    "DepthwiseConv1D",
    "DepthwiseConv2D",
)
"""Keras's layers, and those derived from them, that end in their activation."""


def final_activation(model: Any) -> str | None:
    """Return the activation that a Keras model ends in; None if its layers do not show it.

    Args:
        model: a Keras model, or an `OutputOf` one. The result is None for a model with a custom
            `call`, and for other functions.

    Returns:
        A name of `keras.activations`: "linear" for a dense layer without activation.
    """
    position = None
    if isinstance(model, OutputOf):
        model, position = model
    if not is_graph_of_layers(model):
        return None
    outputs = tf.nest.flatten(outputs_of(model))
    found = {_activation(x) for i, x in enumerate(outputs) if position in (None, i)}
    return found.pop() if len(found) == 1 else None


def ends_in_logits(ending: str | None, activation: str) -> bool:
    """Return whether a model's outputs are logits, which the activation turns into probabilities.

    Args:
        ending: the model's `final_activation`. The logarithms of a softmax are logits of it.
        activation: "softmax" or "sigmoid".
    """
    return ending == "linear" or (ending == "log_softmax" and activation == "softmax")


class GraphLogits(NamedTuple):
    """The logits from which predictions were computed.

    Attributes:
        operation: operation that made the predictions: "Softmax" or "Sigmoid"; "" for another
            operation, and outside a graph.
        logits: input of the operation, in the dtype of the predictions.
        kept: whether an activation of Keras has stored the logits with the predictions.
    """

    operation: str
    logits: Tensor
    kept: bool


def graph_logits(y_pred: Tensor) -> GraphLogits:
    """Return the logits from which predictions were computed, also before a change of dtype."""
    made = y_pred
    while tf.is_symbolic_tensor(made) and made.op.type in ("Cast", "Identity"):
        made = made.op.inputs[0]
    operation = made.op.type if tf.is_symbolic_tensor(made) else ""
    kept = logits_of(made)
    if kept is not None:  # a softmax along another axis than the last ends in a transposition
        operation = "Sigmoid" if operation == "Sigmoid" else "Softmax"
        return GraphLogits(operation, tf.cast(kept, y_pred.dtype), True)
    if operation in ("Softmax", "Sigmoid"):
        return GraphLogits(operation, tf.cast(made.op.inputs[0], y_pred.dtype), False)
    return GraphLogits("", y_pred, False)


def _activation(output: Any) -> str | None:
    """Return the activation that made a symbolic tensor of Keras; None where it is not known."""
    layer, node, index = source_of(output)
    if is_graph_of_layers(layer):
        return _activation(keras.tree.flatten(layer.outputs)[index])
    if not type(layer).__module__.startswith("keras."):
        return None
    if isinstance(layer, keras.layers.Softmax):
        return "softmax"
    if isinstance(layer, keras.layers.TimeDistributed):
        layer = layer.layer
    name = None
    ends: Any = tuple(getattr(keras.layers, kind) for kind in _LAYERS_WITH_ACTIVATION)
    if isinstance(layer, ends):
        name = getattr(layer.activation, "__name__", "")
        if layer.activation is not getattr(keras.activations, name, None):
            return None
    passes = isinstance(layer, keras.layers.Activation) and name == "linear"
    if passes or type(layer).__name__ in _LAYERS_OF_ONE_INPUT:
        before = inputs_of_call(layer, node)
        return _activation(before[0]) if len(before) == 1 else None
    return name
