"""Keyword options of a function, declared once in a frozen dataclass."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from trainlib.core.checks import check_choice

Settings = TypeVar("Settings")
Function = TypeVar("Function", bound=Callable[..., Any])


def settings_from(cls: type[Settings], function: str, options: Mapping[str, Any]) -> Settings:
    """Return the settings of some keyword arguments.

    Args:
        cls: frozen dataclass of the settings.
        function: name of the function that was given the arguments, for error messages.
        options: the arguments.

    Raises:
        TypeError: a keyword is unknown.
    """
    names = [field.name for field in dataclasses.fields(cls)]  # type: ignore[arg-type]
    for name in options:
        try:
            check_choice(f"option of {function}", name, names)
        except ValueError as error:
            raise TypeError(str(error)) from None
    return cls(**options)


def show_options(cls: type[Any]) -> Callable[[Function], Function]:
    """Return a decorator that shows the fields of a dataclass in a function's signature.

    `help` and the reference then list each keyword of `**options` with its default.

    Args:
        cls: frozen dataclass of the options.
    """

    def decorate(function: Function) -> Function:
        signature = inspect.signature(function)
        own = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
        options = [
            inspect.Parameter(
                field.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=field.default,
                annotation=field.type,
            )
            for field in dataclasses.fields(cls)
        ]
        shown = signature.replace(parameters=[*own, *options])
        function.__signature__ = shown  # type: ignore[attr-defined]
        return function

    return decorate
