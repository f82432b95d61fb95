"""What each output of a model predicts: its loss, targets, units and metrics."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from trainlib.data import Dataset, Examples
from trainlib.experiment.config import ExperimentConfig
from trainlib.experiment.functions import AUTO
from trainlib.experiment.targets import (
    INPUTS,
    Target,
    form_of,
    loss_name,
    metric_is_by_class,
    target_of,
)
from trainlib.experiment.model_signature import Shapes
from trainlib.models import RECONSTRUCTING
from trainlib.registry import full_name, lookup
from trainlib.user_code import is_spec


class Head(NamedTuple):
    """What one output of a model predicts.

    Attributes:
        loss: name of its loss.
        target: form of its targets.
        units: units of the output.
        metrics: names of its metrics.
        classes: number of classes; 0 for numbers.
    """

    loss: str
    target: Target
    units: int
    metrics: tuple[str, ...]
    classes: int


def head_for(config: ExperimentConfig, loss: str, dataset: Dataset, shape: Shapes = ()) -> Head:
    """Return the head of a loss on the targets of a data set.

    Args:
        config: the experiment.
        loss: name of the loss.
        dataset: the data set, with the number of its classes.
        shape: shape of the inputs of an example, which an autoencoder reconstructs. Default: ().
    """
    target = task_target(config, loss, dataset.classes)
    metrics = metric_names(config, loss, target)
    classes = dataset.classes if target.by_class else 0
    return Head(loss, target, number_of_units(target, dataset, shape), metrics, classes)


def heads_for(
    config: ExperimentConfig, dataset: Dataset, losses: Mapping[str, str]
) -> dict[str, Head]:
    """Return the heads of several outputs with targets of their own.

    A metric is that of the outputs that it suits: one of classes is not that of numbers.

    Args:
        config: the experiment.
        dataset: the data set.
        losses: other losses than that of the configuration, by output.

    Raises:
        ValueError: a loss does not suit its output, or a metric none of them.
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
    """Return the metrics that suit a head; those that suit none remain, to be refused."""

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
        examples: the examples.
        target: the targets, where there is one array of them.
        heads: the heads of several outputs; {} for one array.
        classes: number of classes of the one array.
    """
    if not heads:
        return examples._replace(y=form_of(examples.y, target.form, classes))
    y: dict[str, Any] = {
        name: form_of(examples.y[name], head.target.form, head.classes)
        for name, head in heads.items()
    }
    return examples._replace(y=y)


def task_target(config: ExperimentConfig, loss: str, classes: int) -> Target:
    """Return the targets of an experiment: those of its loss, or the inputs of an autoencoder."""
    if config.model.name in RECONSTRUCTING:
        return Target(INPUTS, None)
    return target_of(loss, classes)


def number_of_units(target: Target, dataset: Dataset, shape: Shapes) -> int:
    """Return the number of units of an output.

    Args:
        target: its targets.
        dataset: the data set, with the number of its classes.
        shape: shape of the inputs of an example.
    """
    if target.form == INPUTS and not isinstance(shape, dict):
        return math.prod(shape)
    return dataset.classes if target.by_class else 1


def metric_names(config: ExperimentConfig, loss: str, target: Target) -> tuple[str, ...]:
    """Return the names of the metrics of an experiment with that loss."""
    names = tuple(metric.name for metric in config.metrics)
    if names != (AUTO,):
        return names
    if target.by_class:
        return ("accuracy",)
    same = loss if config.regularizer is None else None  # the loss shows this metric already
    return tuple(x for x in ("mean_squared_error", "mean_absolute_error") if x != same)
