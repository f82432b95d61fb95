"""Functions as parameters of an estimator, and parameters such as `optimizer__momentum` of them."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Mapping
from typing import Any

from trainlib.experiment.functions import FunctionConfig
from trainlib.user_code import code_path_of, is_installed

FUNCTIONS = ("model", "optimizer", "schedule", "regularizer", "loss")
"""The parameters of an estimator that are functions with hyperparameters."""


def as_function(kind: str, value: Any, default: FunctionConfig | None = None) -> FunctionConfig:
    """Return a parameter that is a function as a `FunctionConfig`.

    Args:
        kind: the name of the parameter.
        value: a name, a `FunctionConfig`, a dict such as {"name": "sgd", "momentum": 0.9}, a
            function of a module, or None for the default.
        default: the function that None stands for. Default: None, there is none.

    Raises:
        ValueError: None without a default, a dict without a name, or a function that no module
            has.
        TypeError: it is something else.
    """
    if isinstance(value, FunctionConfig):
        return value
    if isinstance(value, str):
        return FunctionConfig(value)
    if isinstance(value, Mapping):
        if "name" not in value:
            raise ValueError(f"{kind} must have a name, as in {{'name': 'sgd'}}, got {value!r}")
        return FunctionConfig(value["name"], {k: x for k, x in value.items() if k != "name"})
    if inspect.isfunction(value) and kind == "model":
        return FunctionConfig(spec_of(kind, value))
    if value is None and default is not None:
        return default
    if value is None:
        raise ValueError(f"{kind} is None, which has no hyperparameters: give its name first")
    raise TypeError(
        f"{kind} must be a name, tl.config(name, ...) or a dict such as {{'name': ..., "
        f"'hyperparameter': ...}}, got {value!r}"
    )


def spec_of(kind: str, function: Any) -> str:
    """Return the `module:function` that a function is imported by.

    Raises:
        ValueError: no module has it under its name, such as a lambda.
    """
    module, name = function.__module__, function.__qualname__
    if getattr(sys.modules.get(module), name, None) is not function:
        raise ValueError(
            f"{kind} {name}: must be a function of a module, by which it is found again; write it "
            "in a file and give 'module:function'"
        )
    return f"{module}:{name}"


def code_path_of_function(value: Any) -> str | None:
    """Return the folder of the module of a function; None for names and installed modules."""
    if not inspect.isfunction(value) or is_installed(value.__module__):
        return None
    return code_path_of([sys.modules[value.__module__]])


def portable_spec(kind: str, function: Any) -> str:
    """Return the `module:function` of a function that another process can import.

    Raises:
        ValueError: it is a lambda, or a function of a notebook or of the script that is running.
    """
    spec = spec_of(kind, function)
    if function.__module__ == "__main__":
        raise ValueError(
            f"{kind} {spec}: another process cannot import it; write it in a file and give "
            "'module:function'"
        )
    return spec


def with_hyperparameter(function: FunctionConfig, name: str, value: Any) -> FunctionConfig:
    """Return a function with another value of a hyperparameter."""
    return FunctionConfig(function.name, {**function.hyperparameters, name: value})


def split(key: str) -> tuple[str, str]:
    """Return the function and the hyperparameter of a name such as `optimizer__momentum`.

    The function is "" if the name is not that of a hyperparameter.
    """
    kind, separator, name = key.partition("__")
    return (kind, name) if separator and kind in FUNCTIONS else ("", key)
