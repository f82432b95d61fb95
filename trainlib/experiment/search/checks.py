"""The checks of a search: every value of its space is allowed, and the trials can be compared."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from trainlib.experiment.config import ExperimentConfig
from trainlib.experiment.flat import check_flags, flatten
from trainlib.experiment.functions import FUNCTIONS, takes
from trainlib.experiment.hyperparameter_flags import hyperparameter_flags
from trainlib.experiment.search.settings import (
    Drawn,
    SearchedConfig,
    decides_others,
    declared_setting,
    function_names,
    is_set_by,
    number,
    setting_value,
    values_by_parameter,
)
from trainlib.experiment.search.space import Choices, Condition, Parameter, Space

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
"""Settings that do not change the training of a trial."""
PART_OF_LOSS = ("loss", "output_losses", "loss_weights", "regularizer", "regularized_params")
"""Settings that change the meaning of the loss, like hyperparameters of losses and regularizers."""
MOST_CHECKED = 500
"""Largest number of combinations of the parameters that others depend on that are checked."""


def searched_config(config: ExperimentConfig, space: Space) -> SearchedConfig:
    """Return a configuration with its space, after checks that all values are allowed.

    Raises:
        ValueError, TypeError: a name that is no flag, a setting that trials may not differ in, a
            value of another type or out of its range, or a parameter that no trial would have.
    """
    check_flags(ExperimentConfig, (parameter.name for parameter in space.parameters))
    for parameter in space.parameters:
        _check_parameter(parameter)
    always = {parameter.name for parameter in space.parameters if parameter.condition is None}
    base = {flag: x for flag, x in flatten(config).items() if not is_set_by(flag, always)}
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
            for name in function_names(searched.base.get(kind, ()))
        )
        if parameter.name in PART_OF_LOSS or is_part:
            raise ValueError(
                f"search: {parameter.name} changes what val_loss is, so that trials cannot be "
                "compared by it: give monitor, such as val_accuracy or val_mean_squared_error"
            )


def _check_parameter(parameter: Parameter) -> None:
    name, distribution = parameter.name, parameter.distribution
    if name in OTHER_DATA:
        raise ValueError(
            f"search: {name} changes the data that trials are compared on: leave it out, and run "
            "one search for each value"
        )
    if name in WITHOUT_EFFECT:
        raise ValueError(f"search: {name} does not change what a trial learns: leave it out")
    declared = declared_setting(name)
    if isinstance(distribution, Choices):
        for value in distribution.values:
            setting_value(parameter, value)
    elif declared.type not in ("int", "ints", "float", "floats"):
        raise ValueError(f"search: {name} takes no numbers: give values, as in {name}={{A,B}}")
    elif declared.type.startswith("int") and not distribution.is_integer:
        raise ValueError(f"search: {name} takes integers: write int(LOW,HIGH) or logint(LOW,HIGH)")


def _check_values(searched: SearchedConfig) -> None:
    """Make a configuration with each value of each parameter.

    Of a range these are its two ends, and the values that conditions name.
    """
    parameters = searched.space.parameters
    conditions = [p.condition for p in parameters if p.condition is not None]
    named = {condition.name for condition in conditions}
    leading = [p.name for p in parameters if decides_others(p) or p.name in named]
    values = {p.name: [*end_values(p), *_values_in(p, conditions)] for p in parameters}
    had: set[str] = set()
    for fixed in itertools.islice(_combinations(values, leading), MOST_CHECKED):
        for k in range(max(map(len, values.values()))):
            chosen = {name: x[min(k, len(x) - 1)] for name, x in values.items()}
            had |= set(_checked(searched, chosen | fixed))
    for parameter in parameters:
        if parameter.name not in had:
            _check_rare(searched, values, parameter)


def _check_rare(
    searched: SearchedConfig, values: Mapping[str, list[Any]], parameter: Parameter
) -> None:
    """Check the values of a parameter that none of the first `MOST_CHECKED` combinations has."""
    first = {name: x[0] for name, x in values.items()}
    for varied in _combinations(values, searched.deciding(parameter.name)):
        drawn = searched.draw(values_by_parameter(first | varied))
        if parameter.name in drawn:
            for x in values[parameter.name]:
                _checked(searched, first | drawn | {parameter.name: x})
            return
    raise ValueError(_never_drawn(searched, parameter))


def _combinations(
    values: Mapping[str, list[Any]], names: Sequence[str]
) -> Iterator[dict[str, Any]]:
    """Yield all combinations of the values of some parameters."""
    for combination in itertools.product(*(values[name] for name in names)):
        yield dict(zip(names, combination, strict=True))


def _checked(searched: SearchedConfig, chosen: Drawn) -> Drawn:
    """Return the values of the trial with some values, after checking its configuration.

    Raises:
        ValueError, TypeError: no configuration takes them.
    """
    drawn = searched.draw(values_by_parameter(chosen))
    try:
        searched.config(drawn)
    except (ValueError, TypeError) as error:
        raise type(error)(_explained(searched, drawn, str(error))) from error
    return drawn


def end_values(parameter: Parameter) -> list[Any]:
    """Return the values of a parameter; of a range, its two ends."""
    distribution = parameter.distribution
    if isinstance(distribution, Choices):
        return list(distribution.values)
    return [distribution.low, distribution.high]


def _values_in(parameter: Parameter, conditions: Sequence[Condition]) -> list[float]:
    """Return the values in a range of integers or steps that conditions on it name."""
    distribution = parameter.distribution
    if isinstance(distribution, Choices):
        return []
    texts = [x for c in conditions if c.name == parameter.name for x in c.values]
    found = [x for x in map(number, texts) if x is not None and distribution.has(x)]
    return [int(x) if distribution.is_integer else x for x in found]


def _explained(searched: SearchedConfig, drawn: Drawn, problem: str) -> str:
    """Return the message about values that no configuration takes."""
    values = ", ".join(f"{name}={value}" for name, value in drawn.items())
    text = f"search: no trial can have {values}: {problem}"
    for name in searched.base:
        kinds, _ = hyperparameter_flags().get(name, ((), ""))
        is_refused = f"{name} is not for" in problem or f"{name} needs --" in problem
        if is_refused and set(kinds) & set(drawn):
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
