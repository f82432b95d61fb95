"""`vary`: contenders that vary some settings of one configuration."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from trainlib.experiment.config import ExperimentConfig
from trainlib.experiment.flat import parse_setting, settings, unflatten
from trainlib.experiment.functions import FUNCTIONS
from trainlib.experiment.search.checks import searched_config
from trainlib.experiment.search.settings import VARIANTS, Drawn
from trainlib.experiment.search.space import NONE, Choices, Range, Space
from trainlib.experiment.search.space_text import parse_space


def vary(
    config: ExperimentConfig, given: str | Mapping[str, str | Sequence[Any]]
) -> dict[str, ExperimentConfig]:
    """Return the configurations with all combinations of some values, by name, for `tl.compare`.

    Args:
        config: the configuration to vary.
        given: flags of `train` and their values, as in "optimizer={sgd,momentum}; depth={1,2}",
            or a mapping from flags to sequences of values. "momentum" is `sgd` with momentum 0.9,
            "nesterov" the same with Nesterov momentum. A hyperparameter is varied only for
            functions that take it; "if optimizer=sgd" after the values adds a condition.

    Returns:
        The configurations by name. A name consists of the values: that of the first flag alone,
        each of the others after its flag.

    Raises:
        ValueError, TypeError: the text has a syntax error, or a flag or a value is not allowed.

    Example:
        >>> found = tl.vary(tl.ExperimentConfig(), "optimizer={nesterov,adam}; momentum={0.8,0.9}")
        >>> list(found)
        ['nesterov momentum=0.8', 'nesterov momentum=0.9', 'adam']
        >>> found["nesterov momentum=0.8"].optimizer
        config('sgd', momentum=0.8, nesterov=True)
    """
    with _naming_vary():
        space = parse_space(given)
        for parameter in space.parameters:
            if isinstance(parameter.distribution, Range):
                raise ValueError(
                    f"vary: {parameter.name} needs values, as in {parameter.name}={{A,B}}, got "
                    f"{parameter.distribution}"
                )
        searched = searched_config(config, space)
        contenders = {_name(drawn, space): searched.config(drawn) for drawn in searched.grid()}
    if len(contenders) < 2:
        raise ValueError(f"vary {space}: makes one contender; give two values or more")
    return contenders


@contextlib.contextmanager
def _naming_vary() -> Iterator[None]:
    """Replace "search" by "vary" in the messages about a search space."""
    try:
        yield
    except (ValueError, TypeError) as error:
        text = str(error)
        if not text.startswith("search"):
            raise
        raise type(error)(f"vary{text.removeprefix('search')}") from error


def vary_flags(given: Mapping[str, Any], text: str) -> dict[str, ExperimentConfig]:
    """Return the contenders for given flags of `train`, as `vary` does for a configuration.

    Hyperparameters among the flags may belong to the functions that are varied.
    """
    with _naming_vary():
        space = parse_space(text)
    first: dict[str, str] = {}
    for x in space.parameters:
        if isinstance(x.distribution, Choices) and x.name in FUNCTIONS and x.condition is None:
            function = next((value for value in x.distribution.values if value != NONE), None)
            if function is not None:
                first[x.name] = VARIANTS.get(function, {}).get(x.name, function)
    declared = {x.flag: x for x in settings(ExperimentConfig)}
    parsed = {name: parse_setting(declared[name], value) for name, value in first.items()}
    return vary(unflatten(ExperimentConfig, {**given, **parsed}), text)


def _name(drawn: Drawn, space: Space) -> str:
    """Return the name of a contender: the value of the first flag, then "flag=value" of others."""
    if len(space.parameters) == 1:
        return str(*drawn.values())
    first = space.parameters[0].name
    return " ".join(x if name == first else f"{name}={x}" for name, x in drawn.items())
