"""Numbers of Keras layers as values of the model state, so that one trace serves models that differ
in them: means and variances of `Normalization`, rates of `Dropout`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import keras
import tensorflow as tf

from trainlib.core.types import Tensor, Tree
from trainlib.step.state import ApplyFn, ModelOutput
from trainlib.training.keras_private import all_layers
from trainlib.training.layer_calls import calls_through
from trainlib.training.model_variables import model_variables
from trainlib.training.reentry import reentered

PREFIX = "number/"
"""Prefix of the paths of these numbers in the model state."""
_WITH_OTHER_STATE = frozenset(
    {
        *("Lambda", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer", "Pipeline"),
        *("Discretization", "StringLookup", "IntegerLookup", "TextVectorization", "Hashing"),
        *("HashedCrossing", "CategoryEncoding", "FeatureSpace", "MelSpectrogram"),
    }
)
"""Layers of Keras with code, or with a state that is neither a variable nor a setting."""


def layer_numbers(model: Any) -> dict[str, Tensor]:
    """Return the numbers of a model's layers, by path."""
    numbers = {}
    for path, layer in _by_path(model).items():
        for name in _names(layer):
            numbers[f"{PREFIX}{path}/{name}"] = tf.convert_to_tensor(getattr(layer, name))
    return numbers


def architecture(model: Any) -> str | None:
    """Return the computation of a model's forward pass, without its values, as text.

    Values are the variables and the numbers of `layer_numbers`. The text is the configuration of
    the model's layers, without initializers and seeds.

    Args:
        model: a built Keras model.

    Returns:
        The text; None for a model with layers or functions whose configuration does not describe
        all that they compute: custom ones, and preprocessing layers with a state that is no
        variable.
    """
    layers = all_layers(model)
    if not all(map(_is_known, layers)):
        return None
    try:
        found = _plain(keras.saving.serialize_keras_object(model))
    except (_UnknownError, NotImplementedError, TypeError, ValueError):
        return None
    numbers = {path: _names(layer) for path, layer in _by_path(model).items()}
    trained, kept = (
        [(path, tuple(v.shape), str(v.dtype)) for path, v in group.items()]
        for group in model_variables(model)
    )
    settings = (keras.config.floatx(), keras.config.epsilon(), keras.config.image_data_format())
    return repr((found, numbers, trained, kept, settings))


class _UnknownError(Exception):
    """Raised for a configuration with a function or a class that is not Keras's."""


def _is_known(layer: Any) -> bool:
    """Return whether a layer of Keras or trainlib is described completely by its configuration."""
    module = type(layer).__module__
    is_ours = module.startswith(("keras.", "trainlib."))
    return is_ours and type(layer).__name__ not in _WITH_OTHER_STATE


def _plain(config: Any) -> Any:
    """Return a configuration without values, in the order of its names."""
    if isinstance(config, (list, tuple)):
        return [_plain(x) for x in config]
    if not isinstance(config, Mapping):
        return config
    kind, module = config.get("class_name"), str(config.get("module") or "keras")
    if kind == "function" or not module.startswith(("keras", "trainlib", "builtins")):
        raise _UnknownError
    found = {}
    for name, value in sorted(config.items(), key=lambda item: str(item[0])):
        if name == "config" and isinstance(value, Mapping):
            left_out = _values(str(kind), value)
            value = {key: x for key, x in value.items() if key not in left_out}
        if name != "shared_object_id" and not str(name).endswith("_initializer"):
            found[name] = _plain(value)
    return found


def _values(kind: str, config: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the settings of a layer that are values of the state, by its class and settings."""
    if kind == "Normalization":
        return ("mean", "variance")
    if kind == "Dropout":
        return ("rate", "seed") if _is_open(config["rate"], config["noise_shape"]) else ("seed",)
    return ()


def with_numbers(apply_fn: ApplyFn, model: Any) -> ApplyFn:
    """Return the function of a model that takes the numbers of its layers from the model state.

    Args:
        apply_fn: function of the model, from `pure_call`.
        model: the Keras model.
    """
    layers = _by_path(model)

    def apply(params: Tree, model_state: Tree, x: Tree, training: bool) -> ModelOutput:
        numbers = {path: v for path, v in model_state.items() if path.startswith(PREFIX)}
        rest = {path: v for path, v in model_state.items() if path not in numbers}
        with reentered(lambda: _numbers_set(layers, numbers)):
            output = apply_fn(params, rest, x, training)
        return output._replace(model_state={**output.model_state, **numbers})

    return apply


def _by_path(model: Any) -> dict[str, Any]:
    """Return the layers that have numbers, by path without the model's name."""
    found: dict[str, Any] = {}
    for layer in filter(_names, all_layers(model)):
        path = (layer.path or layer.name).removeprefix(f"{model.name}/")
        while path in found:  # layers of two nested models may have one name
            path += "_"
        found[path] = layer
    return found


def _names(layer: Any) -> tuple[str, ...]:
    """Return the names of the attributes of a layer that are numbers of this kind.

    The mean and the variance of an adapted `Normalization` are variables.
    """
    if type(layer) is keras.layers.Normalization and layer.input_mean is not None:
        return ("mean", "variance")
    if type(layer) is keras.layers.Dropout and _is_open(layer.rate, layer.noise_shape):
        return ("rate",)
    return ()


def _is_open(rate: float, noise_shape: Any) -> bool:
    """Return whether the rate of a `Dropout` layer is a number that the model state holds."""
    return 0 < rate < 1 and noise_shape is None


@contextlib.contextmanager
def _numbers_set(layers: Mapping[str, Any], numbers: Mapping[str, Tensor]) -> Iterator[None]:
    """Context in which layers compute with given numbers."""
    given = {
        (path, name): numbers[f"{PREFIX}{path}/{name}"]
        for path, layer in layers.items()
        for name in _names(layer)
    }
    rates = {id(layers[path]): x for (path, name), x in given.items() if name == "rate"}
    others = [(layers[path], name, x) for (path, name), x in given.items() if name != "rate"]

    def dropped(layer: Any, _: Any, inputs: Tensor, training: bool = False) -> Tensor:
        return _dropout(layer, rates[id(layer)], inputs) if training else inputs

    own = [(layer, name, getattr(layer, name)) for layer, name, _ in others]
    try:
        for (layer, name, x), (_, _, value) in zip(others, own, strict=True):
            vars(layer)[name] = tf.cast(x, value.dtype)
        with calls_through([x for x in layers.values() if id(x) in rates], dropped):
            yield
    finally:
        for layer, name, value in own:
            vars(layer)[name] = value


def _dropout(layer: Any, rate: Tensor, inputs: Tensor) -> Tensor:
    """Return the output of a `Dropout` layer at a rate that is a tensor, not a Python number."""
    seed = tf.cast(tf.convert_to_tensor(layer.seed_generator.next()), tf.int32)
    return tf.nn.experimental.stateless_dropout(inputs, rate=tf.cast(rate, inputs.dtype), seed=seed)
