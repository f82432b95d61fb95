"""The variables of a Keras model by path: trained ones, and all other state that it keeps."""

from __future__ import annotations

import collections
import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import keras

from trainlib.core.types import Tree
from trainlib.training.adapted_layers import finalize_statistics
from trainlib.training.keras_private import all_layers, attributes_of, metrics_of

SEED_STATE = "seed_generator_state"
"""Name of the variable of each of Keras's random generators."""


def model_variables(model: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the trainable and the other variables by path, in the model's order.

    The model's name is removed, since Keras prefixes it in some models only. The path of a variable
    begins with the name of its nested model where two would have the same. Random generators are
    numbered, since Keras names them by how many the process has made. Last come the variables that
    Keras does not list, by the path of their layer: states of stateful recurrent layers, and those
    of metrics in layers.
    """
    by_path: tuple[dict[str, Any], dict[str, Any]] = {}, {}
    generators, nested = itertools.count(), _nested_models(model)
    for group, found in zip(
        (model.trainable_variables, model.non_trainable_variables), by_path, strict=True
    ):
        for variable in group:
            path = nested.get(id(variable), "") + variable.path.removeprefix(f"{model.name}/")
            if path.endswith(SEED_STATE):
                path = f"{SEED_STATE}_{next(generators)}"
            if path in by_path[0] or path in by_path[1]:
                raise ValueError(
                    f"two variables of the model are named {path!r}: give its layers unique names"
                )
            found[path] = variable
    trained, kept = by_path
    for layer, variable in unlisted_variables(model):
        path = f"{layer.path}/{variable.name}".removeprefix(f"{model.name}/")
        names = itertools.chain([path], (f"{path}_{i}" for i in itertools.count(1)))
        kept[next(name for name in names if name not in trained and name not in kept)] = variable
    return trained, kept


def _nested_models(model: Any) -> dict[int, str]:
    """Return "name/" of the nested model of each variable whose path another variable has too."""
    counts = collections.Counter(variable.path for variable in model.variables)
    return {
        id(variable): f"{layer.name}/"
        for layer in getattr(model, "layers", ())
        if isinstance(layer, keras.Model)
        for variable in layer.variables
        if counts[variable.path] > 1
    }


def unlisted_variables(model: Any) -> Iterator[tuple[Any, Any]]:
    """Yield the variables that layers keep outside of `model.variables`, each with its layer."""
    seen = {id(variable) for variable in model.variables}
    for layer in all_layers(model):
        metrics = [metric.variables for metric in metrics_of(layer)]
        for variable in _variables_in([attributes_of(layer), metrics]):
            if id(variable) not in seen:
                seen.add(id(variable))
                yield layer, variable


def _variables_in(value: Any) -> Iterator[Any]:
    """Yield the Keras variables in nested lists, tuples and dicts."""
    if isinstance(value, keras.Variable):
        yield value
    elif isinstance(value, (list, tuple)):
        for x in value:
            yield from _variables_in(x)
    elif isinstance(value, Mapping):
        yield from _variables_in(list(value.values()))


def constraints_of(model: Any) -> dict[str, Callable[[Any], Any]]:
    """Return the constraints of the trainable variables of a Keras model, by path."""
    trained, _ = model_variables(model)
    return {path: v.constraint for path, v in trained.items() if v.constraint is not None}


def write_back(model: Any, params: Tree, model_state: Tree) -> None:
    """Assign the values of a state to the Keras model's variables, whatever is trained now."""
    trained, kept = model_variables(model)
    values = {**params, **model_state}
    for path, variable in {**trained, **kept}.items():
        variable.assign(values[path])
    finalize_statistics(model)
