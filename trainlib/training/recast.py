"""Rebuild Keras models in another precision.

Keras fixes the dtypes of a layer when it is made. So each layer is made again from its
configuration, and the layers are connected as in the model. The global policy is not used.
"""

from __future__ import annotations

import warnings
from typing import Any

import keras

from trainlib.step.precision import Precision
from trainlib.training.adapted_layers import finalize_statistics
from trainlib.training.keras_private import (
    all_layers,
    copy_rematerialization,
    inputs_of_call,
    output_shape_of,
    source_of,
)
from trainlib.training.layer_kinds import ELEMENTWISE

WIDE_KINDS = ("Softmax", "Normalization", "Rescaling", "CategoryEncoding", "Discretization")
"""Layers that compute in the parameters' dtype, on inputs that bfloat16 would round too much."""
_AFTER_LAST_LAYERS = frozenset(
    [
        *ELEMENTWISE,
        *("Average", "Concatenate", "Dropout", "Flatten", "Permute", "RepeatVector", "Reshape"),
    ]
)
"""Layers after which the outputs are still those of the layers before, by element."""
_AFTER_LAST_OPERATIONS = frozenset(
    [
        *("Exp", "Log", "Log1p", "LogSoftmax", "Maximum", "Minimum", "Negative", "Sigmoid"),
        *("Softmax", "Subtract", "Tanh", "TrueDivide"),
    ]
)
"""Operations of the same kind: a temperature, an activation, logits made of probabilities."""


def recast(model: Any, precision: Precision) -> Any:
    """Return a model with the same variables that computes in a policy; itself if it already does.

    Softmax layers, layers that scale or encode inputs, and layers that make the outputs compute in
    the parameters' dtype: so do the logits, whether the model ends in them or in their
    probabilities. A model whose last layers alone do, and whose others compute in the policy, is
    used as it is: its dtypes are your choice.

    Args:
        model: the Keras model.
        precision: the policy.

    Raises:
        ValueError: a model with a custom `call` cannot be rebuilt from its `get_config()`, or a
            layer makes variables before it is built.
    """
    graph = not _has_custom_call(model)
    wide = _output_layers(model) if graph else set()
    last = _output_layers(model, only_last=True) if graph else set()
    if _uses_policy(model, precision, wide) or _uses_policy(model, precision, last):
        return model
    try:
        if graph:
            clone = _reconnect(model, precision, wide, {})
        else:
            clone = _build_like(_rebuild(model, precision, wide=False), model)
        for layer in all_layers(clone):  # after building, which makes inner layers
            if _is_wide(layer):
                layer.dtype_policy = precision.param_dtype
        _copy_values(model, clone)
        for layer, new in zip(all_layers(model), all_layers(clone), strict=True):
            copy_rematerialization(layer, new)
        if not _stores_in(clone, precision):
            raise ValueError("a layer makes its variables before it is built")
    except (NotImplementedError, TypeError, ValueError, UserWarning) as error:
        reason = str(error).strip().split("\n")[0]
        raise ValueError(
            f"precision {precision.name}: the model {model.name!r} cannot be made in it "
            f"({reason}); build it with keras.config.set_dtype_policy({precision.name!r})"
        ) from error
    return clone


def _copy_values(model: Any, clone: Any) -> None:
    """Assign the model's values to a clone's variables, and raise unless they correspond."""
    groups = ("trainable_variables", "non_trainable_variables")
    for ours, clones in ((getattr(model, group), getattr(clone, group)) for group in groups):
        if [(v.name, v.shape) for v in ours] != [(v.name, v.shape) for v in clones]:
            raise ValueError("rebuilt from its configuration it has other variables")
        for variable, value in zip(clones, ours, strict=True):
            variable.assign(value)
    finalize_statistics(clone)


def _reconnect(model: Any, precision: Precision, wide: set[int], made: dict[int, Any]) -> Any:
    """Return the model with each layer rebuilt, nested models too; a shared layer is built once."""

    def rebuild(layer: Any) -> Any:
        if id(layer) not in made:
            if getattr(layer, "inputs", None) and not _has_custom_call(layer):
                made[id(layer)] = _reconnect(layer, precision, wide, made)
            else:
                made[id(layer)] = _rebuild(layer, precision, id(layer) in wide)
        return made[id(layer)]

    def entry(x: Any) -> Any:
        dtype = precision.param_dtype if _floating(x.dtype) else x.dtype
        return keras.Input(batch_shape=x.shape, dtype=dtype, name=x.name)

    one = isinstance(model, keras.Sequential)
    inputs, outputs = (model.inputs[0], model.outputs[0]) if one else (model.input, model.output)
    bare = keras.Model(inputs, outputs, name=model.name)  # drops the additions of `compile`
    entries = keras.tree.map_structure(entry, inputs)
    clone = keras.models.clone_model(bare, input_tensors=entries, clone_function=rebuild)
    if _names(clone) != _names(model):
        raise ValueError("its layers are in another order when they are connected again")
    return clone


def _names(model: Any) -> list[str]:
    """Return the names of the layers that are not inputs."""
    kept = (x for x in model.layers if not isinstance(x, keras.layers.InputLayer))
    return [layer.name for layer in kept]


def _rebuild(layer: Any, precision: Precision, wide: bool) -> Any:
    """Return a layer of the same configuration in the policy, not yet built."""
    if isinstance(layer, keras.layers.Lambda):  # a configuration may lack the function
        new = type(layer)(
            layer.function, output_shape_of(layer), layer.mask, layer.arguments, name=layer.name
        )
    elif isinstance(layer, keras.layers.Layer):
        new = type(layer).from_config(_unbuilt(layer.get_config()))
        _copy_vocabularies(layer, new)
    else:
        return layer  # an operation such as x + y, which has no dtype
    for part in all_layers(new):
        if _floating(part.compute_dtype):
            kept = wide or _is_wide(part)
            part.dtype_policy = precision.param_dtype if kept else precision.name
    return new


def _copy_vocabularies(layer: Any, new: Any) -> None:
    """Copy the vocabularies that layers found by `adapt`, which their configurations lack."""
    lookups = ([x for x in all_layers(y) if hasattr(x, "get_vocabulary")] for y in (layer, new))
    for old, clone in zip(*lookups, strict=True):
        words = old.get_vocabulary(include_special_tokens=False)
        if len(words) == len(clone.get_vocabulary(include_special_tokens=False)):
            continue
        weights: dict[str, Any] = {}
        old.save_own_variables(weights)  # those of "tf_idf", with special tokens first
        first = len(old.get_vocabulary()) - len(words)
        of_words = [x[first : first + len(words)] for x in weights.values()]
        clone.set_vocabulary(words, *of_words)


def _unbuilt(config: Any) -> Any:
    """Return a configuration without the shapes from which Keras would build inner layers."""
    if isinstance(config, dict):
        return {name: _unbuilt(x) for name, x in config.items() if name != "build_config"}
    return [_unbuilt(x) for x in config] if isinstance(config, list) else config


def _build_like(model: Any, other: Any) -> Any:
    """Return the model, built for the shapes of another."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # Keras warns when it cannot build
        model.build_from_config(other.get_build_config())
    model.built = True
    return model


def _uses_policy(model: Any, precision: Precision, wide: set[int]) -> bool:
    """Return whether each layer, variable and input has the dtype that the policy gives it."""
    for layer in all_layers(model):
        container = hasattr(layer, "inputs") and not _has_custom_call(layer)
        if container or isinstance(layer, keras.layers.InputLayer):
            continue
        kept = id(layer) in wide or _is_wide(layer)
        dtype = precision.param_dtype if kept else precision.compute_dtype
        if _floating(layer.compute_dtype) and layer.compute_dtype != dtype:
            return False
    return _stores_in(model, precision)


def _stores_in(model: Any, precision: Precision) -> bool:
    """Return whether the floating variables and inputs have the parameters' dtype."""
    inputs = keras.tree.flatten(getattr(model, "inputs", None) or [])
    dtypes = [x.dtype for x in (*model.variables, *inputs)]
    return all(dtype == precision.param_dtype for dtype in dtypes if _floating(dtype))


def _has_custom_call(model: Any) -> bool:
    """Return whether a model is more than its layers connected."""
    call = type(model).call
    return not getattr(model, "inputs", None) or not call.__module__.startswith("keras.")


def _output_layers(model: Any, only_last: bool = False) -> set[int]:
    """Return the ids of the layers that make the outputs, in nested models too.

    They are the last layers, and the layers before those that `_is_followed` names.

    Args:
        model: a graph of layers.
        only_last: whether to return the last layers only. Default: False.
    """
    found, seen = set(), set()
    pending = keras.tree.flatten(model.outputs)
    while pending:
        output = pending.pop()
        if id(output) in seen:
            continue
        seen.add(id(output))
        layer, node, index = source_of(output)
        if not isinstance(layer, keras.Model):
            found.add(id(layer))
            inputs = inputs_of_call(layer, node)
            if not only_last and _is_followed(layer, inputs):
                pending += inputs
        elif not _has_custom_call(layer):
            pending.append(keras.tree.flatten(layer.outputs)[index])
    return found


def _is_followed(layer: Any, inputs: list[Any]) -> bool:
    """Return whether the outputs of a layer or an operation are those of the layers before it.

    A sum of residuals is not, but one of rescaled outputs, an average with weights.
    """
    kind = type(layer).__name__
    if not isinstance(layer, keras.layers.Layer):
        return kind in _AFTER_LAST_OPERATIONS
    if kind == "Add":
        return all(isinstance(source_of(x)[0], keras.layers.Rescaling) for x in inputs)
    return kind in _AFTER_LAST_LAYERS


def _is_wide(layer: Any) -> bool:
    """Return whether a layer of this kind computes in the parameters' dtype."""
    function = getattr(getattr(layer, "activation", None), "__name__", "")
    kind = type(layer).__name__
    return kind in WIDE_KINDS or (kind == "Activation" and function == "softmax")


def _floating(dtype: str) -> bool:
    """Return whether a dtype, given by its name, is floating."""
    return "float" in str(dtype)
