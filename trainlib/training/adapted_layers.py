"""`Normalization` layers that compute with the values of their variables.

Keras's layer keeps tensors made of its variables when it is adapted or loaded. They stay the same
when the variables are assigned, as in a copy of a model or after a restored checkpoint.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from trainlib.training.keras_private import all_layers


def normalization_layers_of(model: Any) -> list[Any]:
    """Return the `Normalization` layers of a Keras model, in nested models and wrappers too."""
    return [x for x in all_layers(model) if isinstance(x, keras.layers.Normalization)]


def with_current_statistics(
    layer: Any, call: Callable[..., Any], inputs: Any, **options: Any
) -> Any:
    """Call a `Normalization` layer with the mean and variance that its variables have now."""
    if not layer.built:
        return call(inputs, **options)
    kept = layer.mean, layer.variance
    try:
        layer.finalize_state()
        return call(inputs, **options)
    finally:
        layer.mean, layer.variance = kept


def finalize_statistics(model: Any) -> None:
    """Let the `Normalization` layers of a model use the values that their variables have now."""
    for layer in normalization_layers_of(model):
        layer.finalize_state()


def set_weights(model: Any, weights: Sequence[np.ndarray]) -> None:
    """Assign all weights of a Keras model, as `model.set_weights`, those of statistics too.

    Raises:
        ValueError: the model has other weights.
    """
    model.set_weights(weights)
    finalize_statistics(model)
