"""Checks that configurations can be compared: same data, and a result with the same meaning."""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable, Mapping
from typing import Any

from trainlib.experiment.comparison.options import CompareConfig
from trainlib.experiment.config import ExperimentConfig
from trainlib.experiment.data_config import MAX_SEED
from trainlib.experiment.flat import flatten
from trainlib.experiment.hyperparameter_flags import hyperparameter_flags
from trainlib.experiment.range_test import with_learning_rate
from trainlib.experiment.search.checks import OTHER_DATA, PART_OF_LOSS
from trainlib.experiment.search.data import TaskCache
from trainlib.experiment.trial import check_one_machine, check_trial
from trainlib.tools.comparison import VALIDATION_PREFIX

Contenders = Mapping[str, ExperimentConfig]
"""Configurations by the name of the contender."""


def check_contenders(contenders: Contenders, seeds: int, options: CompareConfig) -> None:
    """Check that contenders can be compared, before anything is written. Loads the data.

    Raises:
        ValueError, TypeError, OSError: there are fewer than two contenders, their data differ or
            are missing, or the monitored result does not exist or differs in its meaning.
    """
    for name, config in contenders.items():
        if not isinstance(config, ExperimentConfig):
            raise TypeError(f"configs: {name} must be an ExperimentConfig, got {config!r}")
    if len(contenders) < 2:
        raise ValueError("configs must hold at least two contenders")
    if options.baseline is not None and options.baseline not in contenders:
        raise ValueError(
            f"baseline {options.baseline!r} is no contender; choose from {', '.join(contenders)}"
        )
    for name, config in contenders.items():
        _check_one(name, config, seeds)
    _check_same_data(contenders)
    _check_monitor(contenders, options)
    if options.tune_learning_rate:
        _check_tuning(contenders, options)


def _check_one(name: str, config: ExperimentConfig, seeds: int) -> None:
    check_one_machine(name, config)
    if not config.ensemble.is_one:
        raise ValueError(f"{name}: each run trains one model, not an ensemble: leave ensemble out")
    check_trial(config)
    if config.seed + seeds - 1 > MAX_SEED:
        raise ValueError(f"{name}: seed {config.seed} leaves no {seeds} seeds up to {MAX_SEED}")


def _check_same_data(contenders: Contenders) -> None:
    """Raise `ValueError` if contenders are trained or tested on different data."""
    first, *others = contenders
    flat = {name: flatten(config) for name, config in contenders.items()}
    for setting in OTHER_DATA:
        values = {name: flat[name].get(setting) for name in contenders}
        for name in others:
            if values[name] != values[first]:
                raise ValueError(
                    f"{first} has {setting} {values[first]}, {name} has {values[name]}: contenders "
                    "are compared on the same data"
                )


def _check_monitor(contenders: Contenders, options: CompareConfig) -> None:
    """Raise `ValueError` if the monitored result does not exist, or differs between contenders."""
    tasks = TaskCache()
    settings: dict[str, Hashable] = {}
    result = options.monitor.removeprefix(VALIDATION_PREFIX)
    for name, config in contenders.items():
        task = tasks.task(config)
        if task.validation is None:
            raise ValueError(
                "validation_split is 0: contenders are ranked and tuned on a validation part, "
                "such as validation_split=0.1"
            )
        if result not in task.result_names and not task.signature.outputs:
            reported = ", ".join(f"{VALIDATION_PREFIX}{x}" for x in task.result_names)
            raise ValueError(f"monitor {options.monitor}: {name} reports {reported}")
        settings[name] = (task.loss, _of_loss(config)) if result == "loss" else ()
    if len(set(settings.values())) > 1:
        raise ValueError(
            f"the contenders differ in the loss, so that {options.monitor} does not compare them: "
            "give monitor, such as val_accuracy or val_mean_squared_error"
        )


def _of_loss(config: ExperimentConfig) -> Hashable:
    """Return the settings that change the value of a configuration's loss, besides its name."""
    flags = hyperparameter_flags()
    flat = flatten(config)
    return tuple(
        (name, flat[name])
        for name in flat
        if name in PART_OF_LOSS or flags.get(name, ((), ""))[0] in (("loss",), ("regularizer",))
    )


def _check_tuning(contenders: Contenders, options: CompareConfig) -> None:
    for name, config in contenders.items():
        given = config.optimizer.hyperparameters.get("learning_rate")
        if given is not None:
            raise ValueError(
                f"{name}: tune_learning_rate finds the learning rate: leave learning_rate={given} "
                "out"
            )
        try:
            with_learning_rate(config, options.learning_rates[0])
        except ValueError as error:
            raise ValueError(f"tune_learning_rate: {name}: {error}") from error


def as_seed(config: ExperimentConfig, seed: int, rate: float | None) -> ExperimentConfig:
    """Return the configuration of one run.

    Args:
        config: the configuration of the contender.
        seed: seed of the run.
        rate: learning rate of the run; None for that of the configuration.
    """
    changes: dict[str, Any] = {"seed": seed}
    config = config if rate is None else with_learning_rate(config, rate)
    return dataclasses.replace(config, **changes)
