"""The configurations of a search: a configuration, varied by the parameters of a space."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from trainlib.experiment.config import ExperimentConfig
from trainlib.experiment.fields import Setting
from trainlib.experiment.flat import parse_setting, settings, unflatten
from trainlib.experiment.functions import FUNCTIONS, full_name, takes
from trainlib.experiment.hyperparameter_flags import hyperparameter_flags
from trainlib.experiment.search.space import NONE, Choices, Condition, Parameter, Range, Space

Drawn = Mapping[str, Any]
"""Values of the parameters of one trial, by name: a number of a range, or the text of a choice."""

VARIANTS: Mapping[str, Mapping[str, Any]] = {
    "momentum": {"optimizer": "sgd", "momentum": 0.9},
    "nesterov": {"optimizer": "sgd", "momentum": 0.9, "nesterov": True},
}
"""Choices of optimizers that are known by name besides those of the registry, as flags."""
LONGEST_GRID = 100_000
"""Largest number of combinations that are listed."""
WARMUP_STEPS = "warmup_steps"


class SearchedConfig(NamedTuple):
    """A configuration, and the space of its settings that a search varies.

    Attributes:
        base: values of the configuration by flag, without those that each trial replaces.
        space: the settings that vary, with their distributions.
    """

    base: Mapping[str, Any]
    space: Space

    def draw(self, suggest: Callable[[Parameter], Any]) -> dict[str, Any]:
        """Return the values of one trial.

        Args:
            suggest: returns a number of the parameter's range, or one of its choices. It is called
                for those parameters only that the trial has.
        """
        return self._draw(self._in_order(), suggest)

    def config(self, drawn: Drawn) -> ExperimentConfig:
        """Return the configuration of one trial.

        Raises:
            ValueError, TypeError: `ExperimentConfig` refuses it.
        """
        values = {name: setting_value(self._parameter(name), x) for name, x in drawn.items()}
        variant = VARIANTS.get(values.get("optimizer", ""), {})
        values = {**variant, **values, **({"optimizer": variant["optimizer"]} if variant else {})}
        settled = {
            parameter.name
            for parameter in self.space.parameters
            if parameter.name in drawn or not self._is_taken(parameter.name, drawn)
        }
        base = {flag: x for flag, x in self.base.items() if not is_set_by(flag, settled)}
        return unflatten(ExperimentConfig, {**base, **values})

    def grid(self) -> Iterator[dict[str, Any]]:
        """Yield the values of all combinations, each once.

        Raises:
            ValueError: a parameter has a range without steps, or there are too many combinations.
        """
        values = {parameter.name: _grid_values(parameter) for parameter in self.space.parameters}
        if (count := math.prod(map(len, values.values()))) > LONGEST_GRID:
            raise ValueError(
                f"search has {count:,} combinations, more than {LONGEST_GRID:,}: choose fewer "
                "values, or another sampler"
            )
        seen, order = set(), self._in_order()
        for combination in itertools.product(*values.values()):
            suggest = values_by_parameter(dict(zip(values, combination, strict=True)))
            drawn = self._draw(order, suggest)
            key = tuple(drawn.items())
            if key not in seen:
                seen.add(key)
                yield drawn

    def deciding(self, name: str) -> list[str]:
        """Return the parameters that decide whether a trial has a parameter, and itself."""
        parameters = {parameter.name: parameter for parameter in self.space.parameters}
        names: list[str] = []
        waiting = [name]
        while waiting:
            one = waiting.pop(0)
            if one not in parameters or one in names:
                continue
            names.append(one)
            condition = parameters[one].condition
            needed = () if condition is None else (condition.name,)
            kinds, _ = hyperparameter_flags().get(one, ((), ""))
            monitors = [x for x in FUNCTIONS["monitors"] if one.startswith(f"{x}_")]
            waiting += [*needed, *kinds, *monitors]
        return names

    def _in_order(self) -> list[Parameter]:
        """Return the parameters, each after those that decide whether a trial has it."""
        deciding = {p.name: self.deciding(p.name) for p in self.space.parameters}
        leading_first = sorted(
            self.space.parameters, key=lambda p: p.condition is not None or not decides_others(p)
        )
        names = dict.fromkeys(
            name
            for parameter in leading_first
            for name in sorted(deciding[parameter.name], key=lambda x: len(deciding[x]))
        )
        return [self._parameter(name) for name in names]

    def _draw(self, order: list[Parameter], suggest: Callable[[Parameter], Any]) -> dict[str, Any]:
        """Return the values of one trial, given the order of the parameters."""
        drawn: dict[str, Any] = {}
        for parameter in order:
            if self._has(parameter, drawn):
                drawn[parameter.name] = suggest(parameter)
        return drawn

    def _parameter(self, name: str) -> Parameter:
        return next(parameter for parameter in self.space.parameters if parameter.name == name)

    def _has(self, parameter: Parameter, drawn: Drawn) -> bool:
        """Return whether a trial with these values has a parameter."""
        condition = parameter.condition
        if condition is not None and not _holds(condition, drawn):
            return False
        return self._is_taken(parameter.name, drawn)

    def _is_taken(self, name: str, drawn: Drawn) -> bool:
        """Return whether the functions and monitors that a trial draws take a hyperparameter."""
        searched = {parameter.name for parameter in self.space.parameters}
        for monitor in FUNCTIONS["monitors"]:
            if name.startswith(f"{monitor}_") and monitor in searched:
                switch = str(drawn.get(monitor, self.base.get(monitor, False)))
                return parse_setting(declared_setting(monitor), switch) is True
        kinds, hyperparameter = hyperparameter_flags().get(name, ((), ""))
        warms_up = hyperparameter == WARMUP_STEPS and "schedule" in kinds  # before any schedule
        if warms_up or not searched & set(kinds):
            return True
        return any(
            hyperparameter in takes(kind, full_name(kind, function))
            for kind in kinds
            for function in function_names(drawn.get(kind, self.base.get(kind, ())))
        )


def values_by_parameter(values: Drawn) -> Callable[[Parameter], Any]:
    """Return a function of a parameter that returns its value."""
    return lambda parameter: values[parameter.name]


def declared_setting(name: str) -> Setting:
    """Return the declaration of the setting that a flag sets."""
    return next(declared for declared in settings(ExperimentConfig) if declared.flag == name)


def is_set_by(flag: str, names: set[str]) -> bool:
    """Return whether one of some flags sets the same setting as a flag of a configuration."""
    flags = hyperparameter_flags()
    if flag in names or flag not in flags:
        return flag in names
    kinds, hyperparameter = flags[flag]
    others = (flags[name] for name in names if name in flags)
    return any(name == hyperparameter and set(kinds) <= set(other) for other, name in others)


def function_names(functions: Any) -> tuple[str, ...]:
    """Return the names of functions that a flag holds; () for none."""
    if isinstance(functions, str):
        functions = functions.split(",")
    real = (VARIANTS.get(name, {}).get("optimizer", name) for name in functions)
    return tuple(name for name in real if name != NONE)


def decides_others(parameter: Parameter) -> bool:
    """Return whether a parameter chooses a function or switches a monitor on, which has others."""
    return parameter.name in FUNCTIONS or parameter.name in FUNCTIONS["monitors"]


def _holds(condition: Condition, drawn: Drawn) -> bool:
    """Return whether a trial has one of the values of a condition; numbers may be rounded."""
    value = drawn.get(condition.name)
    return any(str(value) == x or _are_close(number(value), number(x)) for x in condition.values)


def _are_close(a: float | None, b: float | None) -> bool:
    return a is not None and b is not None and math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-15)


def number(value: Any) -> float | None:
    """Return a drawn value or its text as a number; None if it is none."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def setting_value(parameter: Parameter, drawn: Any) -> Any:
    """Return a drawn value as its flag holds it; None for a flag that is left out."""
    declared = declared_setting(parameter.name)
    if isinstance(parameter.distribution, Range):
        number = int(drawn) if declared.type.startswith("int") else float(drawn)
        return (number,) if declared.type in ("ints", "floats") else number
    if drawn == NONE and _may_be_left_out(declared):
        return None
    return parse_setting(declared, str(drawn))


def _may_be_left_out(declared: Setting) -> bool:
    """Return whether "none" is no value of a setting, but leaves it out."""
    is_hyperparameter = bool(declared.kind)
    return declared.default is None and not (is_hyperparameter and declared.type == "str")


def _grid_values(parameter: Parameter) -> list[Any]:
    distribution = parameter.distribution
    if isinstance(distribution, Choices):
        return list(distribution.values)
    low, high, step = distribution.low, distribution.high, distribution.step
    if step is None and not distribution.is_integer or distribution.kind == "logint":
        raise ValueError(
            f"search: sampler grid needs values of {parameter.name}, as in {{{low:g},{high:g}}}, "
            f"or steps, as in uniform({low:g},{high:g},STEP); got {distribution}"
        )
    count = round((high - low) / (step or 1))
    values = [low + k * (high - low) / count for k in range(count + 1)]
    return [round(x) for x in values] if distribution.is_integer else values
