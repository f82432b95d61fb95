"""The training data of a task as a trainer takes them: arrays with weights, or a stream."""

from __future__ import annotations

from typing import Any

import numpy as np

import trainlib.losses as losses
from trainlib.data import Examples
from trainlib.experiment.balance import BALANCED, balanced_weights, labels_of, parse_class_weights
from trainlib.experiment.config import ExperimentConfig
from trainlib.experiment.heads import in_forms
from trainlib.experiment.streaming import batches_of
from trainlib.experiment.task import Task
from trainlib.training.stream_adapter import StreamAdapter


def training_data(config: ExperimentConfig, task: Task) -> tuple[Any, ...] | StreamAdapter:
    """Return the training data: arrays as for `training_arrays`, or the adapter of a stream.

    Raises:
        ValueError, TypeError: as for `training_arrays`; or the number of batches in an epoch of the
            stream is not known.
    """
    if not task.is_streamed:
        return training_arrays(config, task)

    def converted(examples: Examples, weights: np.ndarray | None) -> tuple[Any, ...]:
        examples = in_forms(examples, task.target, task.heads, task.dataset.classes)
        return training_arrays(config, task._replace(train=examples, weights=weights))

    return batches_of(config, task.dataset.stream, converted)


def training_arrays(config: ExperimentConfig, task: Task) -> tuple[Any, ...]:
    """Return the training examples as (x, y), or (x, y, weight) if they have weights.

    For a stream these are its first examples.

    Raises:
        ValueError, TypeError: `class_weight` names a class that does not exist, or the targets are
            not classes.
    """
    weight = _weights(config, task)
    arrays = task.arrays(task.train)
    return arrays if weight is None else (*arrays, weight)


def steps_per_epoch(config: ExperimentConfig, task: Task) -> int:
    """Return the number of batches in an epoch."""
    data = training_data(config, task) if task.is_streamed else None
    if isinstance(data, StreamAdapter):
        return int(data.batches() or 0)
    return -(-task.train.size // config.batch_size)


def _weights(config: ExperimentConfig, task: Task) -> np.ndarray | None:
    """Return the weights of the training examples: column of weights times class weights."""
    class_weight = config.data.class_weight
    if class_weight is None:
        return task.weights
    if task.heads:
        raise ValueError(
            "class_weight is for one array of targets: give the weights of the examples as the "
            "array weight"
        )
    if not task.target.by_class:
        raise ValueError(f"class_weight is for classes; loss {task.loss} predicts numbers")
    if class_weight == BALANCED:
        weights = balanced_weights(labels_of(task.train.y))
    else:
        names = _classes(task)
        weights = parse_class_weights(class_weight, task.outputs, names, task.dataset.name)
    factors: np.ndarray = losses.class_weights(task.train.y, weights).numpy()
    return factors if task.weights is None else factors * task.weights


def _classes(task: Task) -> tuple[str, ...]:
    """Return the names of the classes in the data; () if the classes are numbers."""
    rules = task.dataset.preprocessing
    return task.dataset.class_names if rules is None else rules.classes
