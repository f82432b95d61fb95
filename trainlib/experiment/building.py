"""Build the models, the loss, the metrics and the regularizer of a configuration."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path
from typing import Any, NamedTuple

import keras
import tensorflow as tf

import trainlib.losses as losses
import trainlib.models as models
import trainlib.registry as registry
from trainlib.core.types import Tensor, Tree
from trainlib.data import Examples
from trainlib.experiment.config import ExperimentConfig
from trainlib.experiment.custom_model import with_outputs_of, wrapped
from trainlib.experiment.functions import AUTO, FunctionConfig, floating, not_for, takes
from trainlib.experiment.heads import Head
from trainlib.experiment.scaling import scaling_layers
from trainlib.experiment.targets import INPUTS, metric_is_by_class, takes_logits, target_of
from trainlib.experiment.dataset_loading import VOCABULARY
from trainlib.experiment.task import Task
from trainlib.experiment.task_building import columns_of
from trainlib.experiment.training_data import steps_per_epoch
from trainlib.experiment.transfer import TransferPlan, freeze_layers, plan_for
from trainlib.experiment.user_functions import load_model, make, with_modules_of_model
from trainlib.experiment.model_signature import (
    PLAIN_SIGNATURE,
    resolve_columns,
    shapes_of,
    texts_by_output,
)
from trainlib.interop.parameters import load_parameters
from trainlib.metrics import Metric, as_metric, on_probabilities
from trainlib.models.transfer import with_new_head
from trainlib.regularizers import Regularizer
from trainlib.training.keras_settings import check_data_format
from trainlib.training.model_metrics import takes_probabilities
from trainlib.training.paths import printable
from trainlib.training.pool import SharedPrograms
from trainlib.training.resolve import metrics_by_name
from trainlib.training.trainable import parts_of
from trainlib.user_code import is_spec

OVER_EXAMPLES = ("pearson_correlation", "concordance_correlation")
"""Metrics of an experiment that are computed over the examples, not over the outputs of each."""


class Models(NamedTuple):
    """A model in two forms, which share their variables.

    Attributes:
        full: the model that is saved.
        trained: the model that the loss sees.
        from_logits: whether `trained` ends in logits, and `full` in their probabilities; None: as
            its last layer shows.
        plan: which layers are frozen how long. Default: none are.
    """

    full: Any
    trained: Any
    from_logits: bool | None
    plan: TransferPlan = TransferPlan()


def build_models(config: ExperimentConfig, task: Task) -> Models:
    """Return the model of a configuration, with its initial parameters and frozen layers.

    It begins with layers that scale its input, where it has none, and ends in probabilities, where
    the loss is one of probabilities.

    Raises:
        ValueError, OSError: the model cannot be built or loaded, does not fit the data, or has
            other parameters than the file from which it starts.
    """
    built, head = _all_trained(config, task)
    if config.parameters is not None:
        try:
            load_parameters(built.full, config.parameters)
        except ImportError as error:
            raise ValueError(str(error)) from None
    before = freeze_layers(config, built.full, head)
    return built._replace(plan=plan_for(config, built.trained, before))


def _all_trained(config: ExperimentConfig, task: Task) -> tuple[Models, str]:
    """Return the model of a configuration, and the name of its new head, "" if it has none."""
    check_data_format()
    keras.utils.set_random_seed(config.seed)
    name = config.model.name
    layers: Any = scaling_layers(task) if config.data.preprocess == AUTO else []
    if name in models.MODELS:
        if config.from_logits is not None:
            raise ValueError(
                f"from_logits is for your own models; {name} ends in what loss {task.loss} takes"
            )
        if task.heads:
            raise ValueError(
                f"model {name} predicts one array y, but {task.dataset.name} has "
                f"{', '.join(f'y_{output}' for output in task.heads)}: give your own model, as "
                "module:function"
            )
        full = build_named(config, task, layers)
        return as_seen_by_loss(full, task), ""
    head = ""
    if name.endswith(".keras"):
        custom = load_model(name, with_modules_of_model(config), config.safe_mode)
        if config.transfer.replaces_head:
            custom, head = _with_new_head(config, task, custom)
    else:
        units = {output: head.units for output, head in task.heads.items()}
        custom = models.from_function(name, task.shapes, units or task.outputs, config.code_path)
    full = wrapped(config, task, custom, layers)
    return as_seen_by_loss(full, task, config.from_logits), head


def build_named(config: ExperimentConfig, task: Task, layers: Any = ()) -> Any:
    """Return the model of a name, with the hyperparameters that follow from the data.

    Args:
        config: the experiment, whose model has a name.
        task: its data.
        layers: layers that scale the input. Default: none.

    Raises:
        ValueError: there is no such model for these data.
    """
    shape = shapes_of(PLAIN_SIGNATURE, task.train.x)
    options = resolve_columns(config.model, shape, columns_of(task.dataset))
    options |= _vocabulary(config, task)
    make = models.MODELS[config.model.name]
    return make(shape, task.outputs, task.target.activation, layers, **options)


def _with_new_head(config: ExperimentConfig, task: Task, model: Any) -> tuple[Any, str]:
    """Return a saved model with a new head for the targets of a task, and the head's name."""
    if task.heads or task.target.form == INPUTS:
        raise ValueError("replace_head is for one array of targets y")
    activation, cut_at = task.target.activation, config.transfer.cut_at
    changed = with_new_head(model, task.outputs, activation, cut_at=cut_at, seed=config.seed)
    return changed, list(parts_of(changed))[-1].name


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


def as_seen_by_loss(full: Any, task: Task, from_logits: bool | None = None) -> Models:
    """Return a model, and the part of it that the loss sees: its logits, if the loss takes them.

    Args:
        full: a model that ends in what the loss takes.
        task: the name of the loss and its activation.
        from_logits: False where the outputs are said to be probabilities.
    """
    trained = None
    if takes_logits(task.loss) and not task.heads:
        trained = models.logits_model(full, task.target.activation)
    if trained is not None:
        return Models(full, trained, True)
    return Models(full, full, False if from_logits is False else None)


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


def build_loss(config: ExperimentConfig, name: str, from_logits: bool | None) -> losses.Loss:
    """Return the loss of each example, with its hyperparameters.

    Args:
        config: the experiment.
        name: name of the loss.
        from_logits: whether the predictions are logits; None: as the model's last layer shows.
    """
    if is_spec(name):
        own: losses.Loss = make(config, "loss", name)
        return own
    options = dict(_settled(config.loss, "loss", name).hyperparameters)
    function = registry.lookup("loss", name)
    if takes_logits(name) and from_logits is not None:
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
    others = texts_by_output("output_losses", config, task.signature)
    if not task.signature.outputs:
        return build_loss(config, task.loss, from_logits)
    found = {}
    for output in task.signature.outputs:
        head = task.head(output)
        name = head.loss
        if output in others:
            registry.lookup("loss", others[output])
            name = registry.full_name("loss", others[output])
        if target_of(name) != head.target:
            raise ValueError(
                f"output_losses: {name} of output {output!r} takes other targets than loss "
                f"{task.loss}, with which it shares them"
            )
        same = output not in others and config.loss.name in (AUTO, name)
        plain = config if same else dataclasses.replace(config, loss=FunctionConfig(name))
        found[output] = build_loss(plain, name, from_logits)
    return found


def build_metrics(
    config: ExperimentConfig, task: Task, from_logits: bool | None
) -> dict[str, Metric] | dict[str, dict[str, Metric]]:
    """Return the metrics by name, with their hyperparameters; of several outputs, by output.

    Args:
        config: the experiment.
        task: its data and the names of its metrics.
        from_logits: whether the predictions are logits.
    """
    if not task.signature.outputs:
        return _metrics_of(config, task.head(), task.dataset.name, from_logits)
    return {
        output: _metrics_of(config, task.head(output), task.dataset.name, from_logits)
        for output in task.signature.outputs
    }


def _metrics_of(
    config: ExperimentConfig, head: Head, source: str, from_logits: bool | None
) -> dict[str, Metric]:
    """Return the metrics of an output by name; `source` names the data, for messages."""
    chosen = {x.name: x for x in config.metrics}
    metrics = {}
    for name in head.metrics:
        result = name.rpartition(":")[2]  # of a custom function, its name
        if result in metrics:
            raise ValueError(f"two metrics are named {result!r}: give each a different name")
        if is_spec(name):
            metric = make(config, "metrics", name)
        else:
            _check_metric(name, head, source)
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
            metric = on_probabilities(metric, str(head.target.activation))
        metrics[result] = metric
    return metrics


def _check_metric(name: str, head: Head, source: str) -> None:
    """Raise `ValueError` for a metric of classes where there are numbers to predict."""
    if metric_is_by_class(name) and not head.target.by_class:
        raise ValueError(
            f"metric {name} is for classes, but loss {head.loss} on {source} predicts numbers"
        )


def _settled(chosen: FunctionConfig, kind: str, name: str) -> FunctionConfig:
    """Return the function of that name that "auto" stands for; another function as it is."""
    for hyperparameter in chosen.hyperparameters:
        if hyperparameter not in takes(kind, name):
            raise not_for(hyperparameter, hyperparameter, kind, name)
    return FunctionConfig(name, chosen.hyperparameters)


def matched_task(task: Task, built: Models) -> Task:
    """Return a task with the outputs of its model, and the inputs that an autoencoder reconstructs.

    Args:
        task: the task. The targets of an autoencoder are unscaled inputs.
        built: its model, which scales them.
    """
    task = task._replace(signature=with_outputs_of(built.full, task.signature))
    if task.target.form != INPUTS:
        return task

    def scaled(part: Examples | None) -> Any:
        return part and part._replace(y=models.reconstruction_targets(built.full, part.x))

    train, validation, test = map(scaled, (task.train, task.validation, task.test))
    return task._replace(train=train, validation=validation, test=test)


def describe(config: ExperimentConfig, task: Task, built: Models) -> str:
    """Return one line on the data, the model and the optimizer."""
    names = {"train": "training"}
    sizes = [f"{x.size:,} {names.get(name, name)}" for name, x in task.parts().items()]
    if task.is_streamed:
        sizes.insert(0, f"{steps_per_epoch(config, task):,} training batches")
    average = config.weight_average.text
    return (
        f"{printable(task.dataset.name)}: {', '.join(sizes)} examples; "
        f"{printable(Path(config.model.name).name)}: "
        f"{built.full.count_params():,} parameters; {config.optimizer.name}"
        f"{average and f'; evaluated: average of the parameters, {average}'}"
    )
