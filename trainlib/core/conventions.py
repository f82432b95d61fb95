"""Conventions: the forms in which libraries and papers write one function, by name.

A function is written once, with an option for each place where its forms differ. A convention is a
preset of these options and of the defaults of its hyperparameters; each of them can still be set
one by one.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from trainlib.core.checks import check_choice


class _ByConvention:
    """The default of a parameter whose default depends on the convention."""

    def __repr__(self) -> str:
        return "BY_CONVENTION"


BY_CONVENTION: Any = _ByConvention()

Factory = TypeVar("Factory", bound=Callable[..., Any])


def conventions(**presets: Mapping[str, Any]) -> Callable[[Factory], Factory]:
    """Return a decorator that gives a factory its conventions.

    A convention is a preset: a value for each parameter whose default is BY_CONVENTION.

        @conventions(keras={"epsilon": 1e-7}, torch={"epsilon": 1e-8})
        def adam(..., epsilon: float = BY_CONVENTION, convention: str = "keras") -> Optimizer: ...

    The decorated factory has the presets as its attribute `conventions`, and a signature with the
    defaults of its default convention. It raises `ValueError` for an unknown convention.

    Args:
        presets: a mapping from parameter names to defaults for each convention, by its name.

    Raises:
        TypeError: a preset lacks one of these parameters, or has another one.
    """

    def decorate(factory: Factory) -> Factory:
        signature = inspect.signature(factory)
        open_names = {
            name for name, p in signature.parameters.items() if p.default is BY_CONVENTION
        }
        for convention, preset in presets.items():
            if set(preset) != open_names:
                raise TypeError(
                    f"{factory.__name__}, convention {convention}: expected values of "
                    f"{sorted(open_names)}, got {sorted(preset)}"
                )

        @functools.wraps(factory)
        def settled(*args: Any, **keywords: Any) -> Any:
            try:
                bound = signature.bind(*args, **keywords)
            except TypeError as error:
                raise TypeError(f"{factory.__name__}() {error}") from None
            bound.apply_defaults()
            convention = bound.arguments["convention"]
            check_choice(f"convention of {factory.__name__}", convention, presets)
            for name in open_names:
                if bound.arguments[name] is BY_CONVENTION:
                    bound.arguments[name] = presets[convention][name]
            return factory(*bound.args, **bound.kwargs)

        settled.conventions = presets  # type: ignore[attr-defined]
        defaults = presets[signature.parameters["convention"].default]
        shown = [
            p.replace(default=defaults[p.name]) if p.name in open_names else p
            for p in signature.parameters.values()
        ]
        settled.__signature__ = signature.replace(parameters=shown)  # type: ignore[attr-defined]
        return settled  # type: ignore[return-value]

    return decorate


def conventions_of(factory: Callable[..., Any]) -> Mapping[str, Mapping[str, Any]]:
    """Return the presets of a factory's conventions by name; {} for a factory without any."""
    return getattr(factory, "conventions", {})


def default_of(factory: Callable[..., Any], name: str, convention: str | None = None) -> Any:
    """Return the default of a factory's parameter under a convention.

    Args:
        factory: a function, decorated by `conventions` or not.
        name: the name of the parameter.
        convention: the name of a convention; by default the factory's own default. Ignored where
            the default of the parameter does not depend on it.

    Returns:
        The default; `inspect.Parameter.empty` for a required parameter.

    Raises:
        ValueError: the factory has no such convention.
    """
    by_convention = defaults_of(factory, name)
    if not by_convention or convention is None:
        return inspect.signature(factory).parameters[name].default
    check_choice(f"convention of {factory.__name__}", convention, by_convention)
    return by_convention[convention]


def defaults_of(factory: Callable[..., Any], name: str) -> dict[str, Any]:
    """Return the default of a factory's parameter under every convention.

    The result is {} for a parameter whose default does not depend on the convention.
    """
    presets = conventions_of(factory)
    return {c: preset[name] for c, preset in presets.items() if name in preset}
