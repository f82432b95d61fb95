"""Conventions: the forms in which libraries and papers write one rule, by name.

A rule is written once, with an option for each place where its forms differ. A convention is a
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
    """The default of an argument whose default the convention decides."""

    def __repr__(self) -> str:
        return "by convention"


BY_CONVENTION: Any = _ByConvention()

Factory = TypeVar("Factory", bound=Callable[..., Any])


def conventions(**presets: Mapping[str, Any]) -> Callable[[Factory], Factory]:
    """Gives a factory its conventions: presets for the arguments that default to BY_CONVENTION.

        @conventions(keras={"epsilon": 1e-7}, torch={"epsilon": 1e-8})
        def adam(..., epsilon: float = BY_CONVENTION, convention: str = "keras") -> Optimizer: ...

    A preset needs a value for each such argument, and may hold no other. `factory.conventions` is
    the presets.

    Raises:
        ValueError: when the factory is called with a convention that it does not have.
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
            bound = signature.bind(*args, **keywords)
            bound.apply_defaults()
            convention = bound.arguments["convention"]
            check_choice(f"convention of {factory.__name__}", convention, presets)
            for name in open_names:
                if bound.arguments[name] is BY_CONVENTION:
                    bound.arguments[name] = presets[convention][name]
            return factory(*bound.args, **bound.kwargs)

        settled.conventions = presets  # type: ignore[attr-defined]
        return settled  # type: ignore[return-value]

    return decorate


def default_of(factory: Callable[..., Any], name: str, convention: str | None = None) -> Any:
    """The default of a factory's argument; that of a convention where conventions decide it.

    Args:
        factory: a function, decorated by `conventions` or not.
        name: of the argument.
        convention: by default the factory's own.

    Raises:
        ValueError: a convention that the factory does not have.
    """
    parameters = inspect.signature(factory).parameters
    if parameters[name].default is not BY_CONVENTION:
        return parameters[name].default
    presets: Any = factory
    chosen = convention or parameters["convention"].default
    check_choice(f"convention of {factory.__name__}", chosen, presets.conventions)
    return presets.conventions[chosen][name]
