"""Indices of embeddings that have no row: refused in arrays, NaN in a batch.

On CPUs a graph raises an error for them. XLA takes the nearest row, and GPUs zeros, so that a run
would train on other words than those of the data.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from trainlib.core.types import Tensor
from trainlib.training.array_adapter import ArrayAdapter
from trainlib.training.keras_private import all_layers


def embeddings_of(model: Any) -> list[Any]:
    """Return the embedding layers of a Keras model that look rows up as Keras does."""
    lookup = keras.layers.Embedding.call
    return [
        layer
        for layer in all_layers(model)
        if isinstance(layer, keras.layers.Embedding) and type(layer).call is lookup
    ]


def nan_without_row(layer: Any, call: Callable[..., Tensor], inputs: Any, **options: Any) -> Tensor:
    """Call an embedding layer; all its rows are NaN if it does not have one that is asked for.

    As in Keras, the indices -1 to -n are those of the n rows from the last one on.
    """
    rows = call(inputs, **options)
    if not (tf.is_tensor(rows) and tf.is_tensor(inputs)) or not rows.dtype.is_floating:
        return rows
    index, n = tf.cast(inputs, tf.int64), layer.input_dim
    # One number for all rows, and a sum: XLA would test an index again for each value of its row,
    # which takes three times as long as the layer. -0.0 changes no value, not even a zero's sign.
    nothing, nan = tf.constant(-0.0, rows.dtype), tf.constant(np.nan, rows.dtype)
    has_all = tf.reduce_all((index >= -n) & (index < n))
    return rows + tf.where(has_all, nothing, nan)


def embeddings_of_input(model: Any) -> list[Any]:
    """Return the embedding layers that are given the one input of a Keras model, as most are."""
    return [layer for layer in embeddings_of(model) if _is_given_the_input(layer, model)]


def check_indices(name: str, adapter: ArrayAdapter, embeddings: Sequence[Any]) -> None:
    """Raise `ValueError` if arrays hold an index that an embedding has no row for.

    Args:
        name: name of the argument, for the message.
        adapter: the arrays; the inputs are the first of them.
        embeddings: embedding layers, from `embeddings_of_input`.
    """
    x = adapter.examples[0]
    if adapter.on_host or tf.nest.is_nested(x) or x.dtype == tf.bool:
        return
    for layer in embeddings:
        for index in (tf.reduce_min(x).numpy(), tf.reduce_max(x).numpy()):
            if not -layer.input_dim <= index < layer.input_dim:  # nor is NaN between them
                raise ValueError(
                    f"{name} hold the index {index}, but layer {layer.name!r} has rows for "
                    f"-{layer.input_dim} to {layer.input_dim - 1} only: give it a larger "
                    "input_dim, or other indices"
                )


def _is_given_the_input(layer: Any, model: Any) -> bool:
    """Return whether a layer's only call is with the only input of a model."""
    inputs = getattr(model, "inputs", None) or []
    try:
        return len(inputs) == 1 and layer.input is inputs[0]
    except (AttributeError, ValueError):  # no call, or several
        return False
