"""Build the losses, the metrics and the regularizer of a configuration."""

from __future__ import annotations

import dataclasses
import functools

import tensorflow as tf

import trainlib.losses as losses
import trainlib.registry as registry
from trainlib.core.types import Tensor, Tree
from trainlib.experiment.config import ExperimentConfig
from trainlib.experiment.functions import AUTO, FunctionConfig, floating, not_for, takes
from trainlib.experiment.heads import Head
from trainlib.experiment.model_signature import texts_by_output
from trainlib.experiment.targets import metric_is_by_class, takes_logits, target_of
from trainlib.experiment.task import Task
from trainlib.experiment.user_functions import make
from trainlib.metrics import Metric, as_metric, on_probabilities
from trainlib.regularizers import Regularizer
from trainlib.training.model_metrics import takes_probabilities
from trainlib.training.pool import SharedPrograms
from trainlib.training.resolve import metrics_by_name
from trainlib.user_code import is_spec, name_of

OVER_EXAMPLES = ("pearson_correlation", "concordance_correlation")
"""Metrics that an experiment computes over the examples, not over the outputs of each example."""


def build_regularizer(
    config: ExperimentConfig, shared: SharedPrograms | None = None
) -> Regularizer | None:
    """Return the penalty of a configuration; None without a regularizer.

    Args:
        config: the experiment.
        shared: programs that hold floating hyperparameters as variables. Default: None, they are
            constants.
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
        from_logits: whether the predictions are logits; None: inferred from the model's last layer.
    """
    if is_spec(name):
        own: losses.Loss = make(config, "loss", name)
        return own
    options = dict(_resolved(config.loss, "loss", name).hyperparameters)
    function = registry.lookup("loss", name)
    if takes_logits(name) and from_logits is not None:
        options["from_logits"] = from_logits
    if function in (losses.dice, losses.tversky):
        options["axis"] = -1  # per example; by default they take a batch as one image
    return functools.partial(function, **options)


def build_losses(
    config: ExperimentConfig, task: Task, from_logits: bool | None
) -> losses.Loss | dict[str, losses.Loss]:
    """Return the loss of a model with one output, or a dict of losses by output.

    Args:
        config: the experiment.
        task: data of the experiment, with its loss and the outputs of the model.
        from_logits: as for `build_loss`.

    Raises:
        ValueError: the loss of an output is unknown, or takes another form of targets than `loss`.
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
    """Return the metrics by name, with their hyperparameters; for several outputs, by output.

    Args:
        config: the experiment.
        task: data of the experiment, with the names of its metrics.
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
        result = name_of(name)
        if result in metrics:
            raise ValueError(f"two metrics are named {result!r}: give each a different name")
        if is_spec(name):
            metric = make(config, "metrics", name)
        else:
            _check_metric(name, head, source)
            settled = _resolved(chosen.get(name, config.metrics[0]), "metrics", name)
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
    """Raise `ValueError` for a metric of classes if the model predicts numbers."""
    if metric_is_by_class(name) and not head.target.by_class:
        raise ValueError(
            f"metric {name} is for classes, but loss {head.loss} on {source} predicts numbers"
        )


def _resolved(chosen: FunctionConfig, kind: str, name: str) -> FunctionConfig:
    """Return the function that "auto" stands for, with the given hyperparameters."""
    for hyperparameter in chosen.hyperparameters:
        if hyperparameter not in takes(kind, name):
            raise not_for(hyperparameter, hyperparameter, kind, name)
    return FunctionConfig(name, chosen.hyperparameters)
