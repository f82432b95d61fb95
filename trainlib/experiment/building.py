"""Build the models, the loss, the metrics and the regularizer of a configuration."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

import trainlib.losses as losses
import trainlib.models as models
import trainlib.registry as registry
from trainlib.core.types import Tensor, Tree
from trainlib.data import Examples
from trainlib.experiment.config import ExperimentConfig
from trainlib.experiment.functions import AUTO, FunctionConfig, floating, not_for, takes
from trainlib.experiment.targets import INPUTS, metric_is_by_class, takes_logits, target_of
from trainlib.experiment.task import VOCABULARY, Task, steps_per_epoch
from trainlib.experiment.user_functions import load_model, make, with_modules_of_model
from trainlib.experiment.wiring import ONE, by_output, texts_by_output
from trainlib.metrics import Metric, as_metric, on_probabilities
from trainlib.models.layers import chain
from trainlib.models.wide_deep import Wiring
from trainlib.regularizers import Regularizer
from trainlib.training.keras_settings import check_data_format
from trainlib.training.model_ending import PROBABILITIES, ends_in_logits, final_activation
from trainlib.training.model_metrics import takes_probabilities
from trainlib.training.paths import printable, shown
from trainlib.training.pool import SharedPrograms
from trainlib.training.resolve import metrics_by_name
from trainlib.user_code import is_spec

OVER_EXAMPLES = ("pearson_correlation", "concordance_correlation")
"""Metrics of an experiment that are computed over the examples, not over the outputs of each."""
BOUND = 10.0
"""Standard deviations from the mean at which the columns of a table are clipped."""


class Models(NamedTuple):
    """A model in two forms, which share their variables.

    Attributes:
        full: the model that is saved.
        trained: the model that the loss sees.
        from_logits: whether `trained` ends in logits, and `full` in their probabilities; None: as
            its last layer shows.
    """

    full: Any
    trained: Any
    from_logits: bool | None


def build_models(config: ExperimentConfig, task: Task) -> Models:
    """Return the model of a configuration.

    It begins with layers that scale its input, where it has none, and ends in probabilities, where
    the loss is one of probabilities.

    Raises:
        ValueError, OSError: the model cannot be built or loaded, or does not fit the data.
    """
    check_data_format()
    keras.utils.set_random_seed(config.seed)
    shape = task.train.x.shape[1:]
    name, options = config.model.name, config.model.hyperparameters
    layers: Any = _preprocessing(task) if config.data.preprocess == AUTO else []
    if name in models.MODELS:
        if config.from_logits is not None:
            raise ValueError(
                f"from_logits is for your own models; {name} ends in what loss {task.loss} takes"
            )
        options = {**options, **_vocabulary(config, task)}
        full = models.MODELS[name](shape, task.outputs, task.target.activation, layers, **options)
        return as_seen_by_loss(full, task)
    if name.endswith(".keras"):
        custom = load_model(name, with_modules_of_model(config), config.safe_mode)
    else:
        custom = models.from_function(name, shape, task.outputs, config.code_path)
    check_shapes(custom, task)
    before = [] if models.has_preprocessing(custom) else layers
    full = _between(before, custom, _activation_to_add(config, task, custom), shape)
    return as_seen_by_loss(full, task, config.from_logits)


def _vocabulary(config: ExperimentConfig, task: Task) -> dict[str, int]:
    """Return the number of integers that a model for sequences of integers takes.

    Raises:
        ValueError: the data hold larger integers.
    """
    words = task.dataset.vocabulary
    if not words:
        return {}
    given = config.model.hyperparameters.get(VOCABULARY, words)
    if given < words:
        raise ValueError(
            f"vocabulary is {given}, but {task.dataset.name} holds the integer {words - 1}: give "
            f"at least {words}"
        )
    return {VOCABULARY: given}


def with_vocabulary(config: ExperimentConfig, task: Task) -> FunctionConfig:
    """Return the model's name and hyperparameters, with the vocabulary of the data."""
    chosen = config.model
    found = _vocabulary(config, task) if chosen.name in models.MODELS else {}
    return FunctionConfig(chosen.name, {**chosen.hyperparameters, **found}) if found else chosen


def _preprocessing(task: Task) -> list[Any] | dict[str, list[Any]]:
    """Return layers that scale images to [0, 1], or columns by their mean and variance.

    Of a model with several inputs, those of each input. Columns are clipped at BOUND standard
    deviations: a single value 125 of them away from the mean makes plain gradient descent diverge.
    """
    if task.dataset.x_max:
        return [keras.layers.Rescaling(1 / task.dataset.x_max, name="scale")]
    if task.train.x.ndim != 2 or task.dataset.vocabulary:
        return []
    mean, variance = _moments(task.train.x.astype(np.float64), task.weights)
    if task.dataset.preprocessing is not None:  # indicators, which are 0 or 1, stay as they are
        scaled = np.array(task.dataset.preprocessing.scaled)
        mean, variance = np.where(scaled, mean, 0), np.where(scaled, variance, 1)
    if not task.wiring.inputs:
        return _standardizing(mean, variance)
    return {
        name: _standardizing(mean[list(columns)], variance[list(columns)], f"{name}_")
        for name, columns in task.wiring.inputs.items()
    }


def _moments(x: np.ndarray, weights: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean and the variance of each column; an example counts by its weight."""
    if weights is None:
        return x.mean(0), x.var(0)
    mean = np.average(x, axis=0, weights=weights)
    return mean, np.average(np.square(x - mean), axis=0, weights=weights)


def _standardizing(mean: np.ndarray, variance: np.ndarray, prefix: str = "") -> list[Any]:
    """Return layers that standardize columns and clip them, with names after a prefix."""
    return [
        keras.layers.Normalization(mean=mean, variance=variance, name=f"{prefix}standardize"),
        keras.layers.Rescaling(1 / BOUND, name=f"{prefix}in_units_of_the_bound"),
        keras.layers.Activation("hard_tanh", name=f"{prefix}bound"),
        keras.layers.Rescaling(BOUND, name=f"{prefix}in_standard_deviations"),
    ]


def _activation_to_add(config: ExperimentConfig, task: Task, custom: Any) -> str | None:
    """Return the activation that turns the logits of a custom model into probabilities, if any.

    Raises:
        ValueError: `from_logits` contradicts the model, or is for another loss.
    """
    activation, ending = task.target.activation, final_activation(custom)
    if activation not in models.LOGITS_ACTIVATIONS:
        if config.from_logits is not None:
            raise ValueError(
                f"from_logits is for losses of logits or probabilities, which {task.loss} is not"
            )
        return None
    if config.from_logits and ending in PROBABILITIES:
        raise ValueError(f"from_logits is true, but the model ends in a {ending}: leave it out")
    are_logits = ends_in_logits(ending, activation)
    return activation if config.from_logits or (config.from_logits is None and are_logits) else None


def as_seen_by_loss(full: Any, task: Task, from_logits: bool | None = None) -> Models:
    """Return a model, and the part of it that the loss sees: its logits, if the loss takes them.

    Args:
        full: a model that ends in what the loss takes.
        task: the name of the loss and its activation.
        from_logits: False where the outputs are said to be probabilities.
    """
    trained = None
    if takes_logits(task.loss):
        trained = models.logits_model(full, task.target.activation)
    if trained is not None:
        return Models(full, trained, True)
    return Models(full, full, False if from_logits is False else None)


def _between(before: list[Any], custom: Any, activation: str | None, shape: tuple[int, ...]) -> Any:
    """Return a custom model between layers that scale its input and an activation."""
    if not before and activation is None:
        return custom
    x = keras.Input(shape, name="input")
    y = chain(x, [*before, custom])
    if activation is not None:
        y = keras.layers.Activation(activation, name="probabilities")(y)
    return keras.Model(x, y, name="scaled" if before else custom.name)


def build_regularizer(
    config: ExperimentConfig, shared: SharedPrograms | None = None
) -> Regularizer | None:
    """Return the penalty of a configuration, if it has one.

    Args:
        config: the experiment.
        shared: programs that hold its floating hyperparameters. Default: None, they are constants.
    """
    chosen = config.regularizer
    if chosen is None:
        return None
    options = chosen.hyperparameters
    held = {}
    if shared is not None:
        names = floating("regularizer", chosen)
        held = {name: shared.number(f"regularizer/{name}", options[name]) for name in names}
    if not held:
        plain: Regularizer = make(config, "regularizer", chosen.name, **options)
        return plain

    def penalty(params: Tree) -> Tensor:
        dtype = tf.float64 if _is_double(params) else tf.float32
        values = {name: tf.cast(x.read_value(), dtype) for name, x in held.items()}
        made: Regularizer = make(config, "regularizer", chosen.name, **{**options, **values})
        return made(params)

    return penalty


def _is_double(params: Tree) -> bool:
    return any(w.dtype == tf.float64 for w in tf.nest.flatten(params))


def build_loss(config: ExperimentConfig, task: Task, from_logits: bool | None) -> losses.Loss:
    """Return the loss of each example, with its hyperparameters.

    Args:
        config: the experiment.
        task: its data and the name of its loss.
        from_logits: whether the predictions are logits; None: as the model's last layer shows.
    """
    if is_spec(task.loss):
        own: losses.Loss = make(config, "loss", task.loss)
        return own
    options = dict(_settled(config.loss, "loss", task.loss).hyperparameters)
    function = registry.lookup("loss", task.loss)
    if takes_logits(task.loss) and from_logits is not None:
        options["from_logits"] = from_logits
    if function in (losses.dice, losses.tversky):
        options["axis"] = -1  # per example; by default they take a batch as one image
    return functools.partial(function, **options)


def build_losses(
    config: ExperimentConfig, task: Task, from_logits: bool | None
) -> losses.Loss | dict[str, losses.Loss]:
    """Return the loss of a model of one output, or that of each output of a model of several.

    Args:
        config: the experiment.
        task: its data, the name of its loss and the outputs.
        from_logits: as for `build_loss`.

    Raises:
        ValueError: the loss of an output is unknown, or needs other targets than `loss`.
    """
    found = by_output(task.wiring, build_loss(config, task, from_logits))
    others = texts_by_output("output_losses", config, task.wiring)
    if not isinstance(found, dict):
        return found
    for output, text in others.items():
        registry.lookup("loss", text)
        name = registry.full_name("loss", text)
        if target_of(name) != task.target:
            raise ValueError(
                f"output_losses: {name} of output {output!r} takes other targets than loss "
                f"{task.loss}, with which it shares them"
            )
        plain = dataclasses.replace(config, loss=FunctionConfig(name))
        found[output] = build_loss(plain, task._replace(loss=name), from_logits)
    return found


def build_metrics(
    config: ExperimentConfig, task: Task, from_logits: bool | None
) -> dict[str, Metric]:
    """Return the metrics by name, with their hyperparameters.

    Args:
        config: the experiment.
        task: its data and the names of its metrics.
        from_logits: whether the predictions are logits.
    """
    chosen = {x.name: x for x in config.metrics}
    metrics = {}
    for name in task.metrics:
        result = name.rpartition(":")[2]  # of a custom function, its name
        if result in metrics:
            raise ValueError(f"two metrics are named {result!r}: give each a different name")
        if is_spec(name):
            metric = make(config, "metrics", name)
        else:
            _check_metric(name, task)
            settled = _settled(chosen.get(name, config.metrics[0]), "metrics", name)
            options = dict(settled.hyperparameters)
            if name in OVER_EXAMPLES:
                options["axis"] = 0
            if takes_logits(name):
                options["from_logits"] = from_logits
            metric = registry.make_metric(name, **options)
        metric = as_metric(metrics_by_name({result: metric})[result])
        custom = is_spec(name)
        if from_logits and (custom or takes_probabilities(registry.lookup("metric", name))):
            metric = on_probabilities(metric, str(task.target.activation))
        metrics[result] = metric
    return metrics


def _check_metric(name: str, task: Task) -> None:
    """Raise `ValueError` for a metric of classes where there are numbers to predict."""
    if metric_is_by_class(name) and not task.target.by_class:
        raise ValueError(
            f"metric {name} is for classes, but loss {task.loss} on {task.dataset.name} predicts "
            "numbers"
        )


def _settled(chosen: FunctionConfig, kind: str, name: str) -> FunctionConfig:
    """Return the function of that name that "auto" stands for; another function as it is."""
    for hyperparameter in chosen.hyperparameters:
        if hyperparameter not in takes(kind, name):
            raise not_for(hyperparameter, hyperparameter, kind, name)
    return FunctionConfig(name, chosen.hyperparameters)


def with_scaled_targets(task: Task, built: Models) -> Task:
    """Return a task with the inputs that an autoencoder reconstructs; another task as it is.

    Args:
        task: the task, whose targets are unscaled inputs.
        built: its model, which scales them.
    """
    if task.target.form != INPUTS:
        return task

    def scaled(part: Examples | None) -> Any:
        return part and part._replace(y=models.reconstruction_targets(built.full, part.x))

    train, validation, test = map(scaled, (task.train, task.validation, task.test))
    return task._replace(train=train, validation=validation, test=test)


def check_input(model: Any, shape: tuple[int, ...], source: str, wiring: Wiring = ONE) -> None:
    """Raise `ValueError` unless a model takes examples of a shape.

    Args:
        model: a Keras model.
        shape: shape of one example.
        source: name of the data, for the message.
        wiring: the inputs and outputs of the model. Default: one of each.
    """
    source = shown(source)
    if wiring.inputs:
        widths = {name: len(columns) for name, columns in wiring.inputs.items()}
        found = {name: x.shape[-1] for name, x in model.input.items()}
        if found != widths:
            raise ValueError(
                f"the model has inputs of {found} columns; those of {source} have {widths}"
            )
        return
    shapes = [getattr(model, name, None) for name in ("input_shape", "output_shape")]
    if wiring.outputs:
        shapes = shapes[:1]
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
    check_input(model, task.train.x.shape[1:], task.dataset.name, task.wiring)
    expected = task.train.x.shape[1:] if task.target.form == INPUTS else (task.outputs,)
    for output in model.outputs:
        shape = tuple(output.shape[1:])
        if shape != expected:
            raise ValueError(
                f"the model's output for an example has shape {shape}; {task.loss} on "
                f"{task.dataset.name} needs {expected}"
            )


def describe(config: ExperimentConfig, task: Task, built: Models) -> str:
    """Return one line on the data, the model and the optimizer."""
    names = {"train": "training"}
    sizes = [f"{x.size:,} {names.get(name, name)}" for name, x in task.parts().items()]
    if task.is_streamed:
        sizes.insert(0, f"{steps_per_epoch(config, task):,} training batches")
    return (
        f"{printable(task.dataset.name)}: {', '.join(sizes)} examples; "
        f"{printable(Path(config.model.name).name)}: "
        f"{built.full.count_params():,} parameters; {config.optimizer.name}"
    )
