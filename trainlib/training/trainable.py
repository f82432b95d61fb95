"""Which layers of a Keras model are trained: the `trainable` flags of Keras, and their changes.

As in Keras, batch normalization whose layer is not trainable is called in inference mode.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import keras

from trainlib.core.checks import first_of
from trainlib.core.tree import PatternError, compiled
from trainlib.training.keras_private import all_layers, own_parameters
from trainlib.training.model_variables import model_variables


def trainable_flags(model: Any) -> list[bool]:
    """Return the `trainable` flags of all layers, then of all variables, in the model's order."""
    return [bool(x.trainable) for x in (*all_layers(model), *model.variables)]


def set_trainable_flags(model: Any, flags: Sequence[bool]) -> None:
    """Set the flags that `trainable_flags` returned.

    Raises:
        ValueError: the flags are those of another model.
    """
    of = [*all_layers(model), *model.variables]
    if len(of) != len(flags):
        raise ValueError(
            f"the model has {len(of)} layers and variables, but {len(flags)} were trained or frozen"
        )
    for layer_or_variable, flag in zip(of, flags, strict=True):  # outer layers set inner ones first
        if layer_or_variable.trainable != flag:
            layer_or_variable.trainable = flag


def flags_with(model: Any, pattern: str, trainable: bool) -> list[bool]:
    """Return the flags of a model after some of its layers are frozen, or trained.

    Args:
        model: the model, which is not changed.
        pattern: a regular expression that must match the whole name of a layer, or the whole path
            of each of its parameters, with or without the names of nested models.
        trainable: whether these layers are trained.

    Raises:
        ValueError: the pattern is not valid, or matches no layer, or some parameters of a layer
            only.
    """
    layers, variables = all_layers(model), list(model.variables)
    chosen = matching_layers(model, pattern)
    inside = {id(x) for layer in chosen for x in all_layers(layer)}
    around = {id(x) for x in layers if trainable and any(id(y) in inside for y in all_layers(x))}
    params = {id(v) for x in layers if id(x) in inside for v in own_parameters(x)}
    changed = inside | around | params
    return [
        trainable if id(x) in changed else flag
        for x, flag in zip((*layers, *variables), trainable_flags(model), strict=True)
    ]


def matching_layers(model: Any, pattern: str) -> list[Any]:
    """Return the layers that a pattern matches, as for `flags_with`."""
    expression, paths = compiled(pattern), paths_of_variables(model)
    found = []
    for layer in all_layers(model)[1:]:
        own = own_parameters(layer)
        known = ((paths[id(v)], f"{layer.name}/{v.name}") for v in own if id(v) in paths)
        matched = [path for path, short in known if any(map(expression.fullmatch, (path, short)))]
        if expression.fullmatch(layer.name) or (own and len(matched) == len(own)):
            found.append(layer)
        elif matched:
            raise ValueError(
                f"{pattern!r} matches {matched[0]}, but not all parameters of layer {layer.name}: "
                "layers are frozen as a whole; for single parameters use a rule such as "
                f"param_rules={matched[0]}:freeze"
            )
    if not any(own_parameters(x) for layer in found for x in all_layers(layer)):
        some = first_of([layer.name for layer in parts_of(model)], 8)
        message = f"no layer fully matches {pattern!r}; the layers with parameters are {some}"
        raise PatternError(message, pattern)
    return found


def parts_of(model: Any) -> Iterator[Any]:
    """Yield the layers of a model that have parameters, in its order, those of nested models too.

    The layers inside of another layer, such as the cell of a recurrent one, are parts of it.
    """
    for layer in getattr(model, "layers", ()):
        if isinstance(layer, keras.Model) and layer.layers:
            yield from parts_of(layer)
        elif parameters_of(layer):
            yield layer


def parameters_of(layer: Any) -> list[Any]:
    """Return the variables of a layer and the layers inside that can be trained, frozen or not.

    An operation, such as x + y, has none.
    """
    if not isinstance(layer, keras.Layer):
        return []
    return [v for inner in all_layers(layer) for v in own_parameters(inner)]


def paths_of_variables(model: Any) -> dict[int, str]:
    """Return the path of each variable of a model, by its id."""
    return {id(v): path for group in model_variables(model) for path, v in group.items()}
