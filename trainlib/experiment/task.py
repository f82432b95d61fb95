"""The task of an experiment: its data, split into parts, with loss, targets and metrics."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

import trainlib.losses as losses
from trainlib.core.checks import check_integer
from trainlib.data import Dataset, Examples, as_dataset, is_file_path, load_dataset, split, take
from trainlib.experiment.config import ExperimentConfig
from trainlib.experiment.functions import AUTO
from trainlib.experiment.targets import Target, in_form, loss_name, target_of
from trainlib.experiment.user_functions import import_modules
from trainlib.user_code import import_function, is_spec

PARTS = ("train", "validation", "test")
"""The parts of the data, as a `Task` names them."""
BALANCED = "balanced"


class Task(NamedTuple):
    """Data, and the loss, the targets and the metrics that suit them.

    Attributes:
        dataset: the whole data set.
        train: examples trained on.
        validation: examples kept for validation; None if there are none.
        test: examples kept for the final evaluation.
        loss: name of the loss.
        target: form of the targets.
        outputs: units of the model's last layer.
        metrics: names of the metrics.
    """

    dataset: Dataset
    train: Examples
    validation: Examples | None
    test: Examples
    loss: str
    target: Target
    outputs: int
    metrics: tuple[str, ...]


def build_task(config: ExperimentConfig, columns: tuple[str, ...] = ()) -> Task:
    """Load and split the data, and resolve "auto" for the loss and the metrics.

    Args:
        config: the experiment.
        columns: columns of a table in the order in which a model takes them; (): the table's own.

    Raises:
        ValueError, TypeError, OSError: the data are missing, damaged or too few, or do not suit
            the loss.
    """
    data = config.data
    dataset = load_data(config)
    if columns and dataset.feature_names:
        dataset = _select_columns(dataset, columns)
    loss = loss_name(config.loss.name, dataset)
    target = target_of(loss, dataset.classes)
    train, test = (in_form(part, target.form, dataset) for part in (dataset.train, dataset.test))
    if data.train_examples is not None:
        check_integer("train_examples", data.train_examples, at_least=1, at_most=train.size)
        train = take(train, data.train_examples)
    validation = None
    if data.validation_split:
        kept = round(data.validation_split * train.size)
        if not 0 < kept < train.size:
            raise ValueError(
                f"validation_split {data.validation_split:g} keeps {kept} of {train.size} "
                "training examples for validation; both parts need at least 1"
            )
        train, validation = split(train, data.validation_split, config.seed)
    outputs = dataset.classes if target.by_class else 1
    metrics = _metric_names(config, loss, target)
    return Task(dataset, train, validation, test, loss, target, outputs, metrics)


def load_data(config: ExperimentConfig) -> Dataset:
    """Return the data set of a name or a file, or the one that a custom function returns.

    The modules that the configuration names are imported.
    """
    import_modules(config)
    name, data = config.dataset, config.data
    if not is_spec(name) or is_file_path(name):
        return load_dataset(name, data.data_dir, data.target)
    made = import_function("dataset", name, config.code_path)()
    return as_dataset(name, made)


def _metric_names(config: ExperimentConfig, loss: str, target: Target) -> tuple[str, ...]:
    names = tuple(metric.name for metric in config.metrics)
    if names != (AUTO,):
        return names
    if target.by_class:
        return ("accuracy",)
    same = loss if config.regularizer is None else None  # the loss shows this metric already
    return tuple(x for x in ("mean_squared_error", "mean_absolute_error") if x != same)


def _select_columns(dataset: Dataset, columns: tuple[str, ...]) -> Dataset:
    """Return the data set with these columns only, in this order."""
    for name in columns:
        if name not in dataset.feature_names:
            raise ValueError(
                f"{dataset.name} has no column {name!r}; the model takes {', '.join(columns)}"
            )
    indices = [dataset.feature_names.index(name) for name in columns]
    train, test = (part._replace(x=part.x[:, indices]) for part in (dataset.train, dataset.test))
    return dataset._replace(train=train, test=test, feature_names=columns)


def held_out(task: Task) -> tuple[Any, ...] | None:
    """Return the validation data as (x, y); None if there are none."""
    return None if task.validation is None else tuple(task.validation)


def training_data(config: ExperimentConfig, task: Task) -> tuple[Any, ...]:
    """Return the training data as (x, y), or (x, y, weight) where classes have weights.

    Raises:
        ValueError, TypeError: weights of classes that do not exist, or of numbers.
    """
    class_weight = config.data.class_weight
    if class_weight is None:
        return tuple(task.train)
    if not task.target.by_class:
        raise ValueError(f"class_weight is for classes; loss {task.loss} predicts numbers")
    x, y = task.train
    if class_weight == BALANCED:
        weights = _balanced_weights(y, task.outputs)
    else:
        weights = _class_weights(class_weight, task.outputs)
    return x, y, losses.class_weights(y, weights).numpy()


def _balanced_weights(y: np.ndarray, classes: int) -> dict[int, float]:
    """Return the weights with which every class has the same total weight."""
    labels = y if y.ndim == 1 else y.argmax(axis=1)
    counts = np.bincount(labels, minlength=classes)
    present = np.count_nonzero(counts)
    return {k: labels.size / (n * present) for k, n in enumerate(counts) if n}


def _class_weights(text: str, classes: int) -> dict[int, float]:
    """Return the weights that a text such as `0:2,3:0.5` holds."""
    weights = {}
    for part in text.split(","):
        name, _, weight = part.partition(":")
        try:
            weights[int(name)] = float(weight)
        except ValueError:
            raise ValueError(
                f"class_weight must be {BALANCED} or comma-separated class:weight, such as "
                f"0:2,3:0.5, got {text!r}"
            ) from None
        check_integer("a class of class_weight", int(name), at_least=0, at_most=classes - 1)
    return weights
