"""The temperature of a model: a layer between its logits and its probabilities."""

from __future__ import annotations

from typing import Any

import keras

from trainlib.core.checks import check_number
from trainlib.models.layers import free_name
from trainlib.models.structure import TEMPERATURE, last_layer, logits_model, without_last


def with_temperature(model: Any, temperature: float) -> Any:
    """Return a model that divides its logits by a temperature before their softmax or sigmoid.

        p = softmax(z / T)

    A temperature above 1 makes the predictions less confident; it does not change the predicted
    classes. Both models share their variables. An existing temperature is replaced.

    Args:
        model: a Keras model whose last layer is a separate softmax or sigmoid.
        temperature: T, above 0.

    Returns:
        A `keras.Model`, whose layer "temperature" is a `keras.layers.Rescaling` by 1 / T.

    Raises:
        ValueError: the last layer of the model is not a softmax or sigmoid, or the temperature is
            not above 0.

    Example:
        >>> model = tl.models.mlp((4,), 3, "softmax", hidden=())
        >>> [layer.name for layer in tl.models.with_temperature(model, 2.0).layers]
        ['input', 'outputs', 'temperature', 'probabilities']

    References:
        Guo et al. 2017, "On Calibration of Modern Neural Networks".
    """
    check_number("temperature", temperature, above=0)
    logits = uncalibrated_logits(model)
    last = last_layer(model)
    name = free_name(last.name, {layer.name for layer in logits.layers})
    z = keras.layers.Rescaling(1 / temperature, name=TEMPERATURE)(logits.outputs[0])
    y = type(last).from_config({**last.get_config(), "name": name})(z)
    return keras.Model(logits.input, y, name=model.name)


def uncalibrated_logits(model: Any) -> Any:
    """Return a model without its last layer, a softmax or sigmoid, and without its temperature.

    Args:
        model: a Keras model.

    Raises:
        ValueError: the last layer of the model is not a softmax or sigmoid.
    """
    logits = logits_model(model)
    if logits is None:
        raise ValueError(
            f"a temperature needs a model whose last layer is a separate softmax or sigmoid: end "
            f"{model.name!r} with keras.layers.Dense(classes) and keras.layers.Softmax()"
        )
    plain = without_last(logits, lambda layer: layer.name == TEMPERATURE)
    return logits if plain is None else plain
