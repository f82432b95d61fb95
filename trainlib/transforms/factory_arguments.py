"""The arguments of an optimizer's factory: which are held in the state, and which are schedules."""

from __future__ import annotations

import functools
import inspect
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np
import tensorflow as tf

from trainlib.core.checks import check_number
from trainlib.core.conventions import default_of
from trainlib.core.hyperparameters import Declaration, declared
from trainlib.core.tree import float64
from trainlib.core.types import Optimizer, ScalarOrSchedule

Factory: TypeAlias = Callable[..., Optimizer]

_NOT_SCHEDULED = {
    "int": "an integer",
    "bool": "a bool",
    "str": "text",
    "ints": "a sequence of integers",
    "floats": "a sequence of numbers",
}
"""Types that no schedule can change, as messages name them."""


def is_injected(factory: Factory, name: str, value: Any) -> bool:
    """Return whether `inject_hyperparams` holds an argument in the state.

    Args:
        factory: the function that takes the argument.
        name: the name of its parameter.
        value: the argument.
    """
    declaration = _declaration(factory, name)
    if declaration is None:
        is_number = isinstance(value, (float, np.floating))
        is_schedule = callable(value) and not _is_function(_parameter(factory, name))
        return is_number or is_schedule or (tf.is_tensor(value) and value.dtype.is_floating)
    is_number = isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
    return declaration.type == "float" and (is_number or callable(value) or tf.is_tensor(value))


def check_schedules(factory: Factory, arguments: Mapping[str, Any]) -> None:
    """Raise `TypeError` for a function given for an integer, a bool or a string.

    Args:
        factory: the function that takes the arguments.
        arguments: the arguments by name.
    """
    for name, value in arguments.items():
        if not callable(value):
            continue
        declaration = _declaration(factory, name)
        kind = _own_type(factory, name) if declaration is None else declaration.type
        if kind in _NOT_SCHEDULED:
            raise TypeError(
                f"{name} must be {_NOT_SCHEDULED[kind]}, which no schedule can change, "
                f"got {value!r}"
            )


def first_values(factory: Factory, hyperparams: Mapping[str, ScalarOrSchedule]) -> dict[str, Any]:
    """Return the hyperparameters with schedules as their values at step 0, for a trial call.

    A schedule of the learning rate stays, since every optimizer takes one.

    Raises:
        ValueError: a schedule does not return one number, or one out of the declared range.
    """
    values = dict(hyperparams)
    for name, schedule in hyperparams.items():
        if name == "learning_rate" or not callable(schedule):
            continue
        first = float64(schedule(tf.zeros([], tf.int64)))
        if first.shape.rank != 0:
            raise ValueError(
                f"the schedule of {name} must return one number, got the shape {first.shape}"
            )
        declaration = _declaration(factory, name)
        if declaration is not None and tf.is_tensor(first) and hasattr(first, "numpy"):
            check_number(f"{name} at step 0", float(first), **declaration.range._asdict())
        values[name] = first
    return values


def is_custom(factory: Factory) -> bool:
    """Return whether a factory is a user's own, and not one of trainlib's."""
    package = getattr(_function(factory), "__module__", "").partition(".")[0]
    return package != __name__.partition(".")[0]


def factory_name(factory: Factory) -> str:
    """Return the name of a factory, or of the one that a partial function calls; "" for none."""
    return getattr(_function(factory), "__name__", "")


def default_argument(factory: Factory, name: str, convention: str | None = None) -> Any:
    """Return the default of a factory's parameter under a convention, by default its own.

    A partial function has those that it was made with.
    """
    if not isinstance(factory, functools.partial):
        return default_of(factory, name, convention)
    if name in factory.keywords:
        return factory.keywords[name]
    return default_argument(factory.func, name, convention or factory.keywords.get("convention"))


def _declaration(factory: Factory, name: str) -> Declaration | None:
    """Return the declaration of a factory's parameter; None where there is none.

    A declaration of type "str" does not apply to a custom factory's parameter of the same name.
    """
    kinds = ("optimizer", "clipping", "transform")
    found = (declared(kind, factory_name(factory), name) for kind in kinds)
    declaration = next(filter(None, found), None)
    if declaration is not None and declaration.type == "str" and is_custom(factory):
        return None
    return declaration


def _function(factory: Factory) -> Factory:
    """Return the function that a partial function calls in the end."""
    return _function(factory.func) if isinstance(factory, functools.partial) else factory


def _parameter(factory: Factory, name: str) -> inspect.Parameter | None:
    """Return a parameter of a factory; None for a keyword that its signature does not name."""
    return inspect.signature(factory).parameters.get(name)


def _own_type(factory: Factory, name: str) -> str:
    """Return the type of a parameter by its annotation, or by a default that is a bool or text."""
    parameter = _parameter(factory, name)
    if parameter is None:
        return ""
    if isinstance(parameter.default, (bool, str)):
        return type(parameter.default).__name__
    return str(getattr(parameter.annotation, "__name__", parameter.annotation))


def _is_function(parameter: inspect.Parameter | None) -> bool:
    """Return whether the default of a parameter is a function."""
    return (
        parameter is not None
        and parameter.default is not parameter.empty
        and callable(parameter.default)
    )


def by_name(call: inspect.BoundArguments) -> dict[str, Any]:
    """Return the arguments of a call by name, those of `**keywords` among them."""
    arguments = dict(call.arguments)
    return arguments | dict(arguments.pop(_spread(call.signature), {}))


def replaced(call: inspect.BoundArguments, values: Mapping[str, Any]) -> inspect.BoundArguments:
    """Return a call with other values of some of its arguments."""
    spread = _spread(call.signature)
    named = {name: x for name, x in values.items() if name in call.signature.parameters}
    others = {name: x for name, x in values.items() if name not in named}
    arguments = OrderedDict(call.arguments) | named
    if others:
        arguments[spread] = {**arguments[spread], **others}
    return inspect.BoundArguments(call.signature, arguments)


def _spread(signature: inspect.Signature) -> str:
    """Return the name of the parameter that takes all other keywords; "" for none."""
    parameters = signature.parameters.values()
    return next((p.name for p in parameters if p.kind is p.VAR_KEYWORD), "")
