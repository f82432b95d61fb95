"""The names of a model's outputs, and arguments with an entry for each output."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import keras

from trainlib.core.checks import nearest
from trainlib.core.tree import leaves_by_path
from trainlib.training.keras_private import outputs_of, source_of


class OutputNames(NamedTuple):
    """The names of a model's outputs.

    Attributes:
        names: names, in the order of the outputs in `tf.nest.flatten`.
        by_order: True if the names stand for positions in a list; False if they are paths.
    """

    names: tuple[str, ...]
    by_order: bool


class OutputOf(NamedTuple):
    """One of several outputs of a model, for functions that take a model with one output.

    Attributes:
        model: the model.
        position: index of the output in the order of `tf.nest.flatten`.
    """

    model: Any
    position: int


def is_structure(value: Any) -> bool:
    """Return whether a value is a dict, a list or a tuple, and not a NamedTuple."""
    return isinstance(value, (Mapping, list)) or (
        isinstance(value, tuple) and not hasattr(value, "_fields")
    )


def names_of_outputs(model: Any) -> OutputNames | None:
    """Return the names of the outputs of a graph of layers, as Keras names them.

    Outputs in a list have the names of their layers, those in a dict their keys, and those of other
    structures their paths.

    Args:
        model: a Keras model or a `FunctionalModel`.

    Returns:
        The names; None for a model with its own `call`, and for other functions.
    """
    if not is_graph_of_layers(model):
        return None
    outputs = outputs_of(model)
    leaves = leaves_by_path(outputs)
    if isinstance(outputs, Mapping) or any("/" in path for path, _ in leaves):
        return OutputNames(tuple(path for path, _ in leaves), False)
    return OutputNames(_distinct([source_of(x)[0].name for _, x in leaves]), True)


def is_graph_of_layers(model: Any) -> bool:
    """Return whether a model consists of its connected layers, without a custom `call`."""
    call = getattr(type(model), "call", None)
    is_keras = call is not None and call.__module__.startswith("keras.")
    return is_keras and isinstance(model, keras.Model) and bool(getattr(model, "inputs", None))


def names_in(loss: Any) -> OutputNames:
    """Return the names of the outputs that a loss by output is for, where the model shows none.

    Those of a list are "output_1", "output_2" and so on.
    """
    if isinstance(loss, Mapping):
        return OutputNames(tuple(sorted(_paths(loss))), False)
    if any(map(is_structure, loss)):
        return OutputNames(tuple(_paths(loss)), False)
    return OutputNames(tuple(f"output_{i + 1}" for i in range(len(loss))), True)


def entries(
    argument: str, value: Any, outputs: OutputNames, optional: Sequence[str] | None = ()
) -> dict[str, Any]:
    """Return the entries of an argument by the names of the outputs.

    Args:
        argument: name of the argument, for error messages.
        value: a mapping by name, nested as the outputs are, or a list in their order.
        outputs: the names.
        optional: outputs that a mapping may leave out; None: all of them.

    Raises:
        ValueError: an entry is for no output, or an output has none.
    """
    names = outputs.names
    if not isinstance(value, Mapping) and not any("/" in name for name in names):
        if len(value) != len(names):
            raise ValueError(
                f"{argument} has {len(value)} entries, but the model has {len(names)} outputs: "
                f"give one for each of {', '.join(names)}, in this order or by name"
            )
        return dict(zip(names, value, strict=True))
    found = dict(_walk(argument, value, names, ""))
    for name in names:
        if name not in found and optional is not None and name not in optional:
            advice = "; write None if it has no loss" if argument == "loss" else ""
            raise ValueError(
                f"{argument} has no entry for output {name!r}: the outputs are {', '.join(names)}"
                f"{advice}"
            )
    return {name: found[name] for name in names if name in found}


def _walk(argument: str, value: Any, names: Sequence[str], path: str) -> Any:
    """Yield the entries of a nested value, by path; those of outputs are not entered."""
    if path in names:
        yield path, value
    elif is_structure(value) and (not path or any(name.startswith(f"{path}/") for name in names)):
        items = value.items() if isinstance(value, Mapping) else enumerate(value)
        for key, part in items:
            yield from _walk(argument, part, names, f"{path}/{key}" if path else str(key))
    else:
        near = nearest(path, names)
        hint = f"did you mean {near!r}? " if near else ""
        raise ValueError(
            f"{argument} has an entry for {path!r}, which is no output: {hint}the outputs are "
            f"{', '.join(names)}"
        )


def _paths(value: Any, path: str = "") -> list[str]:
    """Return the paths of the leaves of nested dicts and lists."""
    if not is_structure(value):
        return [path]
    items = value.items() if isinstance(value, Mapping) else enumerate(value)
    return [
        found
        for key, part in items
        for found in _paths(part, f"{path}/{key}" if path else str(key))
    ]


def _distinct(names: Sequence[str]) -> tuple[str, ...]:
    """Return names with numbers added to those that occur before: "a", "a_1"."""
    found: list[str] = []
    for name in names:
        numbered = (f"{name}_{i}" for i in itertools.count(1))
        free = (new for new in numbered if new not in names and new not in found)
        found.append(next(free) if name in found else name)
    return tuple(found)
