"""The parameters of an estimator as an `ExperimentConfig`."""

from __future__ import annotations

import dataclasses
import os
from typing import Any

from trainlib.core.checks import check_number
from trainlib.estimators.nested import as_function, code_path_of_function
from trainlib.experiment.config import ExperimentConfig
from trainlib.experiment.data_config import DataConfig
from trainlib.experiment.functions import FunctionConfig
from trainlib.experiment.schedule_config import ScheduleConfig

DEFAULT = ExperimentConfig(epochs=100)
"""The configuration of an estimator without a `config`."""
OF_MODEL = ("hidden", "depth", "width", "activation", "batch_norm", "dropout")
"""Parameters that are hyperparameters of the model."""
_OF_FILES = (
    "data_dir",
    "target",
    "task",
    "train_examples",
    "sample_weight_column",
    "oversample",
    "image_size",
    "color_mode",
    "stratify",
    "group_column",
    "stream_pipeline",
    "steps_per_epoch",
)
"""Settings of data that are read from files, or divided into parts by name."""


def base_config(config: Any) -> ExperimentConfig:
    """Return the `config` of an estimator, or the default configuration.

    Raises:
        TypeError: it is no configuration.
        ValueError: it has settings that would have no effect.
    """
    if config is None:
        return DEFAULT
    if not isinstance(config, ExperimentConfig):
        raise TypeError(f"config must be a tl.ExperimentConfig, got {config!r}")
    unused = DataConfig()
    for name in _OF_FILES:
        if getattr(config.data, name) != getattr(unused, name):
            raise ValueError(
                f"config: data.{name} has no effect on an estimator, whose data are given to fit: "
                "leave it out"
            )
    return config


def configuration(estimator: Any, seed: int) -> ExperimentConfig:
    """Return the experiment that the parameters of an estimator describe.

    Args:
        estimator: the estimator.
        seed: its seed.

    Raises:
        ValueError, TypeError: a parameter that does not exist, or is out of its range.
    """
    base = base_config(estimator.config)
    changes: dict[str, Any] = {
        name: value
        for name in ("epochs", "batch_size")
        if (value := getattr(estimator, name)) is not None
    }
    changes["model"] = _with(
        as_function("model", estimator.model, base.model),
        {name: getattr(estimator, name) for name in OF_MODEL},
    )
    changes["optimizer"] = _with(
        as_function("optimizer", estimator.optimizer, base.optimizer),
        {"learning_rate": estimator.learning_rate},
    )
    if estimator.schedule is not None:
        changes["schedule"] = _schedule(estimator.schedule)
    for name in ("regularizer", "loss"):
        if (value := getattr(estimator, name)) is not None:
            changes[name] = as_function(name, value)
    if estimator.early_stopping:
        changes["monitors"] = _monitors(estimator, base)
    if folder := code_path_of_function(estimator.model):
        changes["code_path"] = os.pathsep.join(filter(None, [folder, base.code_path]))
    return dataclasses.replace(base, seed=seed, report=False, **changes)


def _with(function: FunctionConfig, given: dict[str, Any]) -> FunctionConfig:
    """Return a function with the hyperparameters that are not None in place of its own."""
    chosen = {name: value for name, value in given.items() if value is not None}
    return FunctionConfig(function.name, {**function.hyperparameters, **chosen})


def _schedule(value: Any) -> ScheduleConfig | FunctionConfig:
    return value if isinstance(value, ScheduleConfig) else as_function("schedule", value)


def _monitors(estimator: Any, base: ExperimentConfig) -> tuple[FunctionConfig, ...]:
    """Return the monitors of a configuration, with early stopping on the validation loss."""
    stop = FunctionConfig(
        "early_stop",
        {
            "monitor": "val_loss",
            "patience": estimator.patience,
            "min_delta": estimator.min_delta,
            "restore_best_weights": True,
        },
    )
    return (*(x for x in base.monitors if x.name != "early_stop"), stop)


def validation_fraction(estimator: Any) -> float:
    """Return the fraction of the examples that is kept for validation.

    Raises:
        ValueError, TypeError: it is none of [0, 1), or 0 although training stops early.
    """
    given = estimator.validation_fraction
    if given is None:
        base = base_config(estimator.config)
        reads = (base.monitors, base.calibrate, base.validation_ratio)
        return base.data.validation_split if estimator.early_stopping or any(reads) else 0.0
    check_number("validation_fraction", given, at_least=0, below=1)
    if not given and estimator.early_stopping:
        raise ValueError("early_stopping needs validation data: validation_fraction above 0")
    return float(given)
