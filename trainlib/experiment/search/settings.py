"""The configurations of a search: a configuration, varied by the parameters of a space."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from trainlib.experiment.config import ExperimentConfig
from trainlib.experiment.fields import Setting
from trainlib.experiment.flat import check_flags, flatten, parse_setting, settings, unflatten
from trainlib.experiment.functions import FUNCTIONS, full_name, takes
from trainlib.experiment.hyperparameter_flags import hyperparameter_flags
from trainlib.experiment.search.space import NONE, Choices, Condition, Parameter, Range, Space

Drawn = Mapping[str, Any]
"""Values of the parameters of one trial, by name: a number of a range, or the text of a choice."""

OTHER_DATA = ("dataset", "data_dir", "target", "task", "train_examples", "validation_split") + (
    "stratify",
    "seed",
    "split_seed",
    "stream_pipeline",
)
"""Settings that change which examples the trials are compared on."""
WITHOUT_EFFECT = ("metrics", "report", "norms", "validation_ratio", "safe_mode", "code_path") + (
    "tensorboard",
    "tensorboard_dir",
    "tensorboard_steps",
    "histogram_epochs",
    "layer_statistics",
    "checkpoint_epochs",
    "checkpoint_steps",
    "checkpoint_seconds",
    "checkpoint_best",
    "keep_checkpoints",
    "worker_timeout",
    "strategy",
    "replicas",
    "imports",
)
"""Settings that do not change what a trial trains."""
PART_OF_LOSS = ("loss", "output_losses", "loss_weights", "regularizer", "regularized_params")
"""Settings that change what the loss is; so do hyperparameters of losses and regularizers."""
VARIANTS: Mapping[str, Mapping[str, Any]] = {
    "momentum": {"optimizer": "sgd", "momentum": 0.9},
    "nesterov": {"optimizer": "sgd", "momentum": 0.9, "nesterov": True},
}
"""Choices of optimizers that are known by name besides those of the registry, as flags."""
LONGEST_GRID = 100_000
"""Largest number of combinations that are listed."""
WARMUP_STEPS = "warmup_steps"
_MOST_CHECKED = 500


class SearchedConfig(NamedTuple):
    """A configuration, and the space of its settings that a search varies.

    Attributes:
        base: values of the configuration by flag.
        space: the space.
    """

    base: Mapping[str, Any]
    space: Space

    def draw(self, suggest: Callable[[Parameter], Any]) -> dict[str, Any]:
        """Return the values of one trial.

        Args:
            suggest: returns a number of the parameter's range, or one of its choices. It is called
                for those parameters only that the trial has.
        """
        drawn: dict[str, Any] = {}
        for parameter in self._in_order():
            if self._has(parameter, drawn):
                drawn[parameter.name] = suggest(parameter)
        return drawn

    def config(self, drawn: Drawn) -> ExperimentConfig:
        """Return the configuration of one trial.

        Raises:
            ValueError, TypeError: `ExperimentConfig` refuses it.
        """
        values = {name: _value(self._parameter(name), x) for name, x in drawn.items()}
        variant = VARIANTS.get(values.get("optimizer", ""), {})
        values = {**variant, **values, **({"optimizer": variant["optimizer"]} if variant else {})}
        return unflatten(ExperimentConfig, {**self.base, **values})

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
        seen = set()
        for combination in itertools.product(*values.values()):
            drawn = self.draw(_from(dict(zip(values, combination, strict=True))))
            key = tuple(drawn.items())
            if key not in seen:
                seen.add(key)
                yield drawn

    def _in_order(self) -> list[Parameter]:
        """Return the parameters, those that choose functions and switch monitors on first."""
        return sorted(self.space.parameters, key=lambda p: p.condition is not None or not _leads(p))

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
                return parse_setting(_declared(monitor), str(drawn.get(monitor, False))) is True
        kinds, hyperparameter = hyperparameter_flags().get(name, ((), ""))
        warms_up = hyperparameter == WARMUP_STEPS and "schedule" in kinds  # before any schedule
        if warms_up or not searched & set(kinds):
            return True
        return any(
            hyperparameter in takes(kind, full_name(kind, function))
            for kind in kinds
            for function in _names(drawn.get(kind, self.base.get(kind, ())))
        )


def searched_config(config: ExperimentConfig, space: Space) -> SearchedConfig:
    """Return a configuration with its space, checked: every value is allowed where it is drawn.

    Raises:
        ValueError, TypeError: a name that is no flag, a setting that trials may not differ in, a
            value of another type or out of its range, or a parameter that no trial would have.
    """
    check_flags(ExperimentConfig, (parameter.name for parameter in space.parameters))
    for parameter in space.parameters:
        _check_parameter(parameter)
    searched = {parameter.name for parameter in space.parameters}
    base = {flag: x for flag, x in flatten(config).items() if not _is_set_by(flag, searched)}
    found = SearchedConfig(base, space)
    _check_values(found)
    return found


def check_comparable(searched: SearchedConfig, monitor: str) -> None:
    """Raise `ValueError` if the trials of a search cannot be compared by their loss."""
    if monitor != "val_loss":
        return
    for parameter in searched.space.parameters:
        kinds, hyperparameter = hyperparameter_flags().get(parameter.name, ((), ""))
        is_part = any(
            hyperparameter in takes(kind, name)
            for kind in ("loss", "regularizer")
            if kind in kinds
            for name in _names(searched.base.get(kind, ()))
        )
        if parameter.name in PART_OF_LOSS or is_part:
            raise ValueError(
                f"search: {parameter.name} changes what val_loss is, so that trials cannot be "
                "compared by it: give monitor, such as val_accuracy or val_mean_squared_error"
            )


def _is_set_by(flag: str, names: set[str]) -> bool:
    """Return whether one of some flags sets what a flag of a configuration does."""
    flags = hyperparameter_flags()
    if flag in names or flag not in flags:
        return flag in names
    kinds, hyperparameter = flags[flag]
    others = (flags[name] for name in names if name in flags)
    return any(name == hyperparameter and set(kinds) <= set(other) for other, name in others)


def _from(values: Drawn) -> Callable[[Parameter], Any]:
    """Return a function of a parameter that returns its value."""
    return lambda parameter: values[parameter.name]


def _declared(name: str) -> Setting:
    return next(declared for declared in settings(ExperimentConfig) if declared.flag == name)


def _names(functions: Any) -> tuple[str, ...]:
    """Return the names of functions that a flag holds; () for none."""
    if isinstance(functions, str):
        functions = functions.split(",")
    real = (VARIANTS.get(name, {}).get("optimizer", name) for name in functions)
    return tuple(name for name in real if name != NONE)


def _leads(parameter: Parameter) -> bool:
    """Return whether other parameters may depend on one by themselves."""
    return parameter.name in FUNCTIONS or parameter.name in FUNCTIONS["monitors"]


def _holds(condition: Condition, drawn: Drawn) -> bool:
    return str(drawn.get(condition.name)) in condition.values


def _value(parameter: Parameter, drawn: Any) -> Any:
    """Return a drawn value as its flag holds it; None for a flag that is left out."""
    declared = _declared(parameter.name)
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


def _check_parameter(parameter: Parameter) -> None:
    name, distribution = parameter.name, parameter.distribution
    if name in OTHER_DATA:
        raise ValueError(
            f"search: {name} changes the data that trials are compared on: leave it out, and run "
            "one search for each value"
        )
    if name in WITHOUT_EFFECT:
        raise ValueError(f"search: {name} does not change what a trial learns: leave it out")
    declared = _declared(name)
    if isinstance(distribution, Choices):
        for value in distribution.values:
            _value(parameter, value)
    elif declared.type not in ("int", "ints", "float", "floats"):
        raise ValueError(f"search: {name} takes no numbers: give values, as in {name}={{A,B}}")
    elif declared.type.startswith("int") and not distribution.is_integer:
        raise ValueError(f"search: {name} takes integers: write int(LOW,HIGH) or logint(LOW,HIGH)")


def _check_values(searched: SearchedConfig) -> None:
    """Make a configuration with each value of each parameter; of a range, with its two ends."""
    parameters = searched.space.parameters
    leading = {p.name for p in parameters if _leads(p)}
    leading |= {p.condition.name for p in parameters if p.condition is not None}
    ends = {p.name: _ends(p, p.name in leading) for p in parameters}
    had: set[str] = set()
    for lead in itertools.islice(
        itertools.product(*(ends[name] for name in leading)), _MOST_CHECKED
    ):
        fixed = dict(zip(leading, lead, strict=True))
        for k in range(max(len(values) for values in ends.values())):
            chosen = {name: values[min(k, len(values) - 1)] for name, values in ends.items()}
            drawn = searched.draw(_from(chosen | fixed))
            had |= set(drawn)
            try:
                searched.config(drawn)
            except (ValueError, TypeError) as error:
                raise type(error)(_explained(searched, drawn, str(error))) from error
    if missing := [p for p in parameters if p.name not in had]:
        raise ValueError(_never_drawn(searched, missing[0]))


def _ends(parameter: Parameter, leads: bool) -> list[Any]:
    """Return the values to check; of a parameter that others depend on, all if they are few."""
    distribution = parameter.distribution
    if isinstance(distribution, Choices):
        return list(distribution.values)
    if leads and distribution.is_integer and distribution.high - distribution.low < 20:
        return list(range(int(distribution.low), int(distribution.high) + 1))
    return [distribution.low, distribution.high]


def _explained(searched: SearchedConfig, drawn: Drawn, problem: str) -> str:
    """Return the message about values that no configuration takes."""
    values = ", ".join(f"{name}={value}" for name, value in drawn.items())
    text = f"search: no trial can have {values}: {problem}"
    for name in searched.base:
        kinds, _ = hyperparameter_flags().get(name, ((), ""))
        if f"{name} is not for" in problem and set(kinds) & set(drawn):
            value = searched.base[name]
            text += f"; for some of them only, write it into the search: {name}={{{value}}}"
    return text


def _never_drawn(searched: SearchedConfig, parameter: Parameter) -> str:
    """Return the message about a parameter that no trial has."""
    if parameter.condition is not None:
        return f"search: no trial meets the condition of {parameter}"
    kinds, hyperparameter = hyperparameter_flags().get(parameter.name, ((), ""))
    owners = [
        name for kind in kinds for name in FUNCTIONS[kind] if hyperparameter in takes(kind, name)
    ]
    return f"search: no trial takes {parameter.name}; it is for {', '.join(owners)}"
