"""Reuse of a trained model for other targets: `transfer`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import keras

from trainlib.core.checks import check_choice, check_integer
from trainlib.models.layers import chain, free_name
from trainlib.models.loading import load_model, model_file
from trainlib.training.adapted_layers import set_weights
from trainlib.training.keras_private import all_layers, inputs_of_call, source_of
from trainlib.training.trainable import flags_with, parameters_of, set_trainable_flags

POOLING = "mean_of_positions"
"""Name of the layer that reduces features with several axes before a new head."""


def transfer(
    source: Any,
    outputs: int | None = None,
    activation: str | None = None,
    *,
    cut_at: str | None = None,
    freeze: str | None = None,
    seed: int | None = None,
    safe_mode: bool = True,
    custom_objects: Mapping[str, Any] | None = None,
) -> Any:
    """Return a copy of a trained model, with a new head and frozen layers if asked for.

    The source is not changed. A frozen layer is not trained; as in Keras, batch normalization in it
    is in inference mode, and dropout in it stays active. `tl.callbacks.Unfreeze` trains frozen
    layers after a number of epochs.

    Args:
        source: a Keras model, the path of a `.keras` file, or the folder of a run.
        outputs: units of the new head, a dense layer that replaces the last layer with parameters
            and all layers after it. Default: None, the model keeps its head.
        activation: activation after the new head, such as "softmax". Default: None, the model ends
            in logits or numbers.
        cut_at: name of the last layer before the new head. If its output has several axes, such as
            that of a convolution, the head takes the mean over positions. Default: None, the layer
            before the last one with parameters.
        freeze: a regular expression that must match the whole name of a layer to freeze, or the
            whole path of each of its parameters; the new head is not frozen. Default: None, only
            layers that are frozen in the source.
        seed: seed of the new head's initial values. Default: None, by Keras's global seed.
        safe_mode: whether to refuse code in a file. Default: True.
        custom_objects: as for `tl.models.load_model`. Default: None.

    Returns:
        A `keras.Model`.

    Raises:
        ValueError: the model is not a graph of layers with one output, a layer does not exist, or
            `activation` or `cut_at` is given without `outputs`.
        FileNotFoundError: the file does not exist.

    Example:
        >>> base = tl.models.mlp((4,), 8, "softmax", hidden=(16,))
        >>> model = tl.transfer(base, 2, "softmax", freeze="hidden.*")
        >>> model.output_shape, [w.path for w in model.trainable_weights]
        ((None, 2), ['outputs/kernel', 'outputs/bias'])
        >>> len(base.trainable_weights)
        4

    Differences:
        Keras: `keras.models.clone_model` does not copy the values, and
            `keras.Model(base.input, base.layers[-2].output)` shares them with the source.
    """
    if outputs is None and (activation is not None or cut_at is not None):
        name = "cut_at" if activation is None else "activation"
        raise ValueError(f"{name} is for a new head: give outputs, its number of units")
    if isinstance(source, keras.Model):
        model = _copy(source)
    else:
        model = load_model(str(model_file(os.fspath(source))), safe_mode, custom_objects)
    if outputs is None:
        return _frozen(model, freeze)
    return with_new_head(model, outputs, activation, cut_at=cut_at, freeze=freeze, seed=seed)


def with_new_head(
    model: Any,
    outputs: int,
    activation: str | None = None,
    *,
    cut_at: str | None = None,
    freeze: str | None = None,
    seed: int | None = None,
) -> Any:
    """Return a model with a new head, which shares its other layers; arguments as of `transfer`."""
    check_integer("outputs", outputs, at_least=1)
    if not getattr(model, "inputs", None) or len(model.outputs) != 1:
        raise ValueError(
            f"model {model.name!r} must be a graph of layers with one output to get a new head"
        )
    kept = _frozen(features(model, cut_at), freeze)
    x = kept.outputs[0]
    layers = [] if len(x.shape) == 2 else [_mean_of_positions(x)]
    names = {layer.name for layer in all_layers(kept)}
    kernel = keras.initializers.GlorotUniform(seed)
    layers.append(
        keras.layers.Dense(outputs, kernel_initializer=kernel, name=free_name("outputs", names))
    )
    if activation is not None:
        name = free_name("probabilities", names)
        layers.append(keras.layers.Activation(activation, name=name))
    inputs = kept.inputs[0] if isinstance(kept, keras.Sequential) else kept.input
    return keras.Model(inputs, chain(x, layers), name=model.name)


def features(model: Any, cut_at: str | None = None) -> Any:
    """Return the part of a model up to a layer, by default the one before its head.

    Args:
        model: a graph of layers with one output.
        cut_at: name of the last layer that is kept. Default: None, the one before the last layer
            with parameters.

    Raises:
        ValueError: the layer does not exist, or no layer with parameters would be left.
    """
    inputs = model.inputs[0] if isinstance(model, keras.Sequential) else model.input
    if cut_at is not None and cut_at in {layer.name for layer in model.layers}:
        return keras.Model(inputs, model.get_layer(cut_at).output, name=model.name)
    layer, tensor = _head(model)
    if isinstance(layer, keras.Model):
        inner = features(layer, cut_at)
        return keras.Model(inputs, inner(tensor), name=model.name)
    if cut_at is not None:
        check_choice("cut_at", cut_at, [x.name for x in model.layers])
    if not any(parameters_of(x) for x in all_layers(keras.Model(inputs, tensor))[1:]):
        raise ValueError(
            f"model {model.name!r} has one layer with parameters only, {layer.name}: nothing would "
            "be left of it before a new head"
        )
    return keras.Model(inputs, tensor, name=model.name)


def _head(model: Any) -> tuple[Any, Any]:
    """Return the last layer with parameters before a model's output, and its input tensor."""
    output = model.outputs[0]
    while True:
        layer, node, _ = source_of(output)
        given = inputs_of_call(layer, node)
        if parameters_of(layer) or len(given) != 1:
            if len(given) == 1:
                return layer, given[0]
            raise ValueError(
                f"model {model.name!r} ends in layer {layer.name}, which joins {len(given)} "
                "tensors: name the last layer that is kept, by cut_at"
            )
        output = given[0]


def _copy(model: Any) -> Any:
    """Return a copy of a model, with its values and its `trainable` flags."""
    try:
        clone = keras.models.clone_model(model)
        set_weights(clone, model.get_weights())
    except (ValueError, TypeError, NotImplementedError) as error:
        reason = str(error).strip().split("\n")[0]
        raise ValueError(
            f"model {model.name!r} cannot be copied by its configuration ({reason}): save it, and "
            "give the path of its .keras file"
        ) from error
    return clone


def _frozen(model: Any, pattern: str | None) -> Any:
    """Freeze the layers that match a pattern, and return the model."""
    if pattern is not None:
        set_trainable_flags(model, flags_with(model, pattern, False))
    return model


def _mean_of_positions(x: Any) -> Any:
    """Return the layer that takes the mean over all axes but those of examples and channels."""
    kinds = {3: "GlobalAveragePooling1D", 4: "GlobalAveragePooling2D", 5: "GlobalAveragePooling3D"}
    if len(x.shape) not in kinds:
        raise ValueError(f"a new head takes outputs of 2 to 5 axes, got {tuple(x.shape)}: cut_at")
    return getattr(keras.layers, kinds[len(x.shape)])(name=POOLING)
