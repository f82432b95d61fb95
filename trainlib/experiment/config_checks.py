"""Checks of an experiment's settings that depend on each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from trainlib.experiment.functions import (
    AUTO,
    PEAK,
    FunctionConfig,
    check_shared,
    rate_argument,
    takes,
)
from trainlib.experiment.hyperparameter_flags import spelling
from trainlib.experiment.nested_configs import NESTED
from trainlib.experiment.patterns import check_patterns
from trainlib.experiment.pretrain_config import check_pretrain
from trainlib.experiment.transfer_config import check_transfer

_NEEDS = {"regularized_params": "regularizer", "constrained_params": "constraint"}
"""Settings that have an effect only with another one."""


def check_nested(config: Any) -> None:
    """Raise `TypeError` if a part of the configuration, such as `data`, is not of its class.

    Args:
        config: an `ExperimentConfig`.
    """
    for name, kind in NESTED.items():
        value = getattr(config, name)
        if not isinstance(value, kind) and not (name == "tensorboard" and value is None):
            article = "an" if kind.__name__[0] in "AEIOU" else "a"
            raise TypeError(f"{name} must be {article} {kind.__name__}, got {value!r}")


def check_combinations(config: Any) -> None:
    """Raise `ValueError` or `TypeError` if settings, each of them valid, contradict each other.

    Args:
        config: an `ExperimentConfig`.
    """
    _check_metrics(config.metrics)
    for pattern, function in _NEEDS.items():
        if getattr(config, pattern) is not None and getattr(config, function) is None:
            raise ValueError(f"{pattern} needs a {function}")
    check_patterns(config)
    _check_learning_rate(config)
    check_transfer(config)
    check_pretrain(config)


def _check_learning_rate(config: Any) -> None:
    schedule = config.schedule
    if config.monitor("reduce_on_plateau") is not None:
        names = [x.name for x in schedule.schedules]
        if names != ["constant"] or schedule.warmup is not None:
            raise ValueError(
                "reduce_on_plateau changes a constant learning rate: leave out the schedule "
                "and the warm-up"
            )
    if "learning_rate" in config.optimizer.hyperparameters:
        for part in schedule.schedules:
            if rate_argument("schedule", part.name) is None:
                raise ValueError(f"schedule {part.name} has its own rates: leave learning_rate out")
        if all(_has_own_peak(part) for part in schedule.schedules):
            raise ValueError(
                f"{PEAK} and learning_rate are both the largest rate of schedule "
                f"{schedule.schedules[0].name}: give one of them"
            )


def _has_own_peak(schedule: FunctionConfig) -> bool:
    """Return whether a schedule has its own largest rate instead of the learning rate."""
    is_peak = rate_argument("schedule", schedule.name) == PEAK
    return is_peak and PEAK in schedule.hyperparameters


def _check_metrics(metrics: Sequence[FunctionConfig]) -> None:
    if len(metrics) > 1 and any(metric.name == AUTO for metric in metrics):
        raise ValueError("metrics must be auto alone or names, got auto among others")
    for metric in metrics:
        for name, declared in takes("metrics", metric.name).items():
            if declared.required and name not in metric.hyperparameters:
                raise ValueError(f"metric {metric.name} needs {spelling('metrics', name)}")
    check_shared("metrics", metrics)
