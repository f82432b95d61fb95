"""`Head`: the loss, the targets, the units and the metrics of an output of a model."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from trainlib.data import Dataset, Examples
from trainlib.experiment.config import ExperimentConfig
from trainlib.experiment.functions import AUTO
from trainlib.experiment.model_signature import Shapes
from trainlib.experiment.targets import (
    INPUTS,
    Target,
    form_of,
    loss_name,
    metric_is_by_class,
    target_of,
)
from trainlib.models import RECONSTRUCTING
from trainlib.registry import full_name, lookup
from trainlib.user_code import is_spec


class Head(NamedTuple):
    """The loss, the targets and the metrics of one output of a model.

    Attributes:
        loss: name of the loss.
        target: form of the targets.
        units: number of units of the output layer.
        metrics: names of the metrics.
        classes: number of classes; 0 for numbers.
    """

    loss: str
    target: Target
    units: int
    metrics: tuple[str, ...]
    classes: int


def head_for(config: ExperimentConfig, loss: str, dataset: Dataset, shape: Shapes = ()) -> Head:
    """Return the head for a loss and the targets of a data set.

    Args:
        config: the experiment.
        loss: name of the loss.
        dataset: the data set.
        shape: shape of one example, which an autoencoder reconstructs. Default: ().
    """
    target = task_target(config, loss, dataset.classes)
    metrics = metric_names(config, loss, target)
    classes = dataset.classes if target.by_class else 0
    return Head(loss, target, number_of_units(target, dataset, shape), metrics, classes)


def heads_for(
    config: ExperimentConfig, dataset: Dataset, losses: Mapping[str, str]
) -> dict[str, Head]:
    """Return the heads of several outputs with different targets.

    An output has those of the configured metrics that suit its targets, classes or numbers.

    Args:
        config: the experiment.
        dataset: the data set.
        losses: losses by output, for outputs whose loss is not that of the configuration.

    Raises:
        ValueError: a loss does not suit its output, or a metric suits no output.
    """
    found = {}
    for name, classes in dataset.output_classes.items():
        given = losses.get(name, config.loss.name)
        if given != AUTO and not is_spec(given):
            lookup("loss", given)
            given = full_name("loss", given)
        one = dataset._replace(name=f"y_{name} of {dataset.name}", classes=classes)
        try:
            loss = loss_name(given, one, config.data.task)
        except ValueError as error:
            raise ValueError(f"{error}: give output_losses={name}=...") from None
        found[name] = head_for(config, loss, one)
    if [metric.name for metric in config.metrics] == [AUTO]:
        return found
    return {name: head._replace(metrics=_suiting(head, found)) for name, head in found.items()}


def _suiting(head: Head, heads: Mapping[str, Head]) -> tuple[str, ...]:
    """Return the metrics that suit a head, and those that suit none, which raise an error later."""

    def suits(metric: str, head: Head) -> bool:
        return is_spec(metric) or metric_is_by_class(metric) == head.target.by_class

    return tuple(
        metric
        for metric in head.metrics
        if suits(metric, head) or not any(suits(metric, other) for other in heads.values())
    )


def in_forms(
    examples: Examples, target: Target, heads: Mapping[str, Head], classes: int
) -> Examples:
    """Return examples with their targets in the forms that the losses take.

    Args:
        examples: examples with targets as loaded: class indices or numbers.
        target: form of the targets, if they are one array.
        heads: heads of several outputs; {} if the targets are one array.
        classes: number of classes, if the targets are one array.
    """
    if not heads:
        return examples._replace(y=form_of(examples.y, target.form, classes))
    y: dict[str, Any] = {
        name: form_of(examples.y[name], head.target.form, head.classes)
        for name, head in heads.items()
    }
    return examples._replace(y=y)


def task_target(config: ExperimentConfig, loss: str, classes: int) -> Target:
    """Return the form of the targets: that of the loss, or INPUTS for an autoencoder."""
    if config.model.name in RECONSTRUCTING:
        return Target(INPUTS, None)
    return target_of(loss, classes)


def number_of_units(target: Target, dataset: Dataset, shape: Shapes) -> int:
    """Return the number of units of an output.

    Args:
        target: form of its targets.
        dataset: the data set.
        shape: shape of one example.
    """
    if target.form == INPUTS and not isinstance(shape, dict):
        return math.prod(shape)
    return dataset.classes if target.by_class else 1


def metric_names(config: ExperimentConfig, loss: str, target: Target) -> tuple[str, ...]:
    """Return the names of an experiment's metrics; "auto" is resolved by the loss."""
    names = tuple(metric.name for metric in config.metrics)
    if names != (AUTO,):
        return names
    if target.by_class:
        return ("accuracy",)
    same = loss if config.regularizer is None else None  # the loss has the same value
    return tuple(x for x in ("mean_squared_error", "mean_absolute_error") if x != same)
