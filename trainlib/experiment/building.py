"""Build the models, the loss, the metrics and the regularizer of a configuration."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np

import trainlib.losses as losses
import trainlib.models as models
import trainlib.registry as registry
from trainlib.experiment.config import ExperimentConfig
from trainlib.experiment.functions import AUTO, FunctionConfig, not_for, takes
from trainlib.experiment.targets import takes_logits
from trainlib.experiment.task import Task
from trainlib.metrics import Metric, as_metric, make_metric, on_probabilities
from trainlib.regularizers import Regularizer
from trainlib.training.keras_settings import check_data_format

ORDER_METRICS = (
    "accuracy",
    "categorical_accuracy",
    "sparse_categorical_accuracy",
    "top_k_categorical_accuracy",
    "sparse_top_k_categorical_accuracy",
)
"""Metrics that depend on the order of the predictions only, the same for logits."""
BOUND = 10.0
"""Standard deviations from the mean at which the columns of a table are clipped."""


class Models(NamedTuple):
    """A model in two forms, which share their variables.

    Attributes:
        full: the model that is saved.
        trained: the model that the loss sees.
        from_logits: whether `trained` ends in logits, and only `full` in probabilities.
    """

    full: Any
    trained: Any
    from_logits: bool


def build_models(config: ExperimentConfig, task: Task) -> Models:
    """Return the model of a configuration, with layers that scale its input where it has none.

    Raises:
        ValueError, OSError: the model cannot be built or loaded, or does not fit the data.
    """
    check_data_format()
    keras.utils.set_random_seed(config.seed)
    shape = task.train.x.shape[1:]
    name, options = config.model.name, config.model.hyperparameters
    layers = _preprocessing(task) if config.data.preprocess == AUTO else []
    if name in models.MODELS:
        full = models.MODELS[name](shape, task.outputs, task.target.activation, layers, **options)
        return as_seen_by_loss(full, task.loss)
    if name.endswith(".keras"):
        custom = models.load_model(name, config.safe_mode)
    else:
        custom = models.from_function(name, shape, task.outputs)
    check_shapes(custom, task)
    seen = as_seen_by_loss(custom, task.loss)
    return seen if not layers or models.has_preprocessing(custom) else _scaled(layers, shape, seen)


def _preprocessing(task: Task) -> list[Any]:
    """Return layers that scale images to [0, 1], or columns by their mean and variance.

    Columns are clipped at BOUND standard deviations: a single value 125 of them away from the mean
    makes plain gradient descent diverge.
    """
    if task.dataset.x_max:
        return [keras.layers.Rescaling(1 / task.dataset.x_max, name="scale")]
    if task.train.x.ndim != 2:
        return []
    x = task.train.x.astype(np.float64)
    return [
        keras.layers.Normalization(mean=x.mean(0), variance=x.var(0), name="standardize"),
        keras.layers.Rescaling(1 / BOUND, name="in_units_of_the_bound"),
        keras.layers.Activation("hard_tanh", name="bound"),
        keras.layers.Rescaling(BOUND, name="in_standard_deviations"),
    ]


def as_seen_by_loss(full: Any, loss: str) -> Models:
    """Return a model, and the part of it that the loss sees: its logits, if the loss takes them."""
    trained = models.logits_model(full) if takes_logits(loss) else None
    return Models(full, full if trained is None else trained, trained is not None)


def _scaled(layers: list[Any], shape: tuple[int, ...], custom: Models) -> Models:
    """Return the user's model after layers that scale its input."""
    x = scaled = keras.Input(shape, name="input")
    for layer in layers:
        scaled = layer(scaled)
    full = keras.Model(x, custom.full(scaled), name="scaled")
    trained = keras.Model(x, custom.trained(scaled), name="scaled") if custom.from_logits else full
    return Models(full, trained, custom.from_logits)


def build_regularizer(config: ExperimentConfig) -> Regularizer | None:
    """Return the penalty of a configuration, if it has one."""
    chosen = config.regularizer
    if chosen is None:
        return None
    penalty: Regularizer = registry.REGULARIZERS[chosen.name](**chosen.hyperparameters)
    return penalty


def build_loss(config: ExperimentConfig, task: Task, from_logits: bool) -> losses.Loss:
    """Return the loss of each example, with its hyperparameters.

    Args:
        config: the experiment.
        task: its data and the name of its loss.
        from_logits: whether the predictions are logits.
    """
    options = dict(_settled(config.loss, "loss", task.loss).hyperparameters)
    function = registry.lookup("loss", task.loss)
    if takes_logits(task.loss):
        options["from_logits"] = from_logits
    if function in (losses.dice, losses.tversky):
        options["axis"] = -1  # per example; by default they take a batch as one image
    return functools.partial(function, **options)


def build_metrics(config: ExperimentConfig, task: Task, from_logits: bool) -> dict[str, Metric]:
    """Return the metrics by name, with their hyperparameters.

    Args:
        config: the experiment.
        task: its data and the names of its metrics.
        from_logits: whether the predictions are logits.
    """
    chosen = {x.name: x for x in config.metrics}
    metrics = {}
    for name in task.metrics:
        options = _settled(chosen.get(name, config.metrics[0]), "metrics", name).hyperparameters
        metric = as_metric(make_metric(registry.lookup("metric", name), **options))
        if from_logits and name not in ORDER_METRICS:
            metric = on_probabilities(metric, str(task.target.activation))
        metrics[name] = metric
    return metrics


def _settled(chosen: FunctionConfig, kind: str, name: str) -> FunctionConfig:
    """Return the function of that name that "auto" stands for; another function as it is."""
    for hyperparameter in chosen.hyperparameters:
        if hyperparameter not in takes(kind, name):
            raise not_for(hyperparameter, hyperparameter, kind, name)
    return FunctionConfig(name, chosen.hyperparameters)


def check_input(model: Any, shape: tuple[int, ...], source: str) -> None:
    """Raise `ValueError` unless a model takes examples of a shape.

    Args:
        model: a Keras model.
        shape: shape of one example.
        source: name of the data, for the message.
    """
    shapes = [getattr(model, name, None) for name in ("input_shape", "output_shape")]
    if not all(isinstance(shape, tuple) for shape in shapes):
        raise ValueError("the model must begin with keras.Input, have one input and one output")
    expected = model.input_shape[1:]
    if len(expected) != len(shape) or any(
        a not in (None, b) for a, b in zip(expected, shape, strict=True)
    ):
        raise ValueError(
            f"the model takes examples of shape {expected}; those of {source} have shape {shape}"
        )


def check_shapes(model: Any, task: Task) -> None:
    """Raise `ValueError` unless a model fits the data and their targets."""
    check_input(model, task.train.x.shape[1:], task.dataset.name)
    shape = model.output_shape[1:]
    if shape != (task.outputs,):
        raise ValueError(
            f"the model's output for an example has shape {shape}; {task.loss} on "
            f"{task.dataset.name} needs {(task.outputs,)}"
        )


def describe(config: ExperimentConfig, task: Task, built: Models) -> str:
    """Return one line on the data, the model and the optimizer."""
    parts = [f"{task.train.x.shape[0]:,} training"]
    if task.validation is not None:
        parts.append(f"{task.validation.x.shape[0]:,} validation")
    parts.append(f"{task.test.x.shape[0]:,} test examples")
    return (
        f"{task.dataset.name}: {', '.join(parts)}; {Path(config.model.name).name}: "
        f"{built.full.count_params():,} parameters; {config.optimizer.name}"
    )
