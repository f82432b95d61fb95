"""The form of metrics that fits a model's outputs: on logits or on probabilities."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

import trainlib.metrics as metric_functions
from trainlib.core.tree import widen
from trainlib.core.types import Tensor
from trainlib.losses import Loss
from trainlib.metrics import ExampleMetric, Metric, on_probabilities
from trainlib.metrics.base import ACTIVATIONS
from trainlib.registry import METRICS, lookup
from trainlib.training.from_logits import (
    link,
    logits_activation,
    loss_name,
    options_of,
    takes_logits,
)
from trainlib.training.model_ending import ends_in_logits, final_activation
from trainlib.training.resolve import Metrics, metrics_by_name

ORDER_METRICS = (
    metric_functions.accuracy,
    metric_functions.categorical_accuracy,
    metric_functions.sparse_categorical_accuracy,
    metric_functions.top_k_categorical_accuracy,
    metric_functions.sparse_top_k_categorical_accuracy,
)
"""Metrics that depend on the order of the predictions only, the same for logits."""


_BINARY = ("binarycrossentropy", "binaryfocalcrossentropy")
"""Losses of probabilities that are independent of one another, by `loss_name`."""


def takes_probabilities(function: Any) -> bool:
    """Return whether a function of the registry's metrics needs probabilities in place of logits.

    All do except cross-entropies, which have a form for logits, and `ORDER_METRICS`.
    """
    return function not in ORDER_METRICS and not takes_logits(function)


def metrics_for_model(
    metrics: Metrics, loss: Loss | None, model: Any, from_logits: bool | None = None
) -> dict[str, Metric | ExampleMetric]:
    """Return metrics by name; those of the registry follow the loss.

    If the loss takes the outputs as logits, metrics that are named, and functions of the registry,
    are given probabilities. Cross-entropies take logits if the model ends in them, whatever the
    loss. Custom functions, `Metric`s and Keras's metrics are given the outputs as they are.

    As in Keras, "accuracy" is `binary_accuracy` for one output that has a binary cross-entropy.

    Args:
        metrics: as for `Trainer`.
        loss: the loss function, from `resolve_loss`; None for an output without one.
        model: a Keras model, a `FunctionalModel`, or an `OutputOf` one.
        from_logits: whether the model ends in logits. Default: None, inferred from its last layer.
    """
    by_name = metrics_by_name(metrics)
    given = metrics.values() if isinstance(metrics, Mapping) else metrics
    ending, activation = final_activation(model), logits_activation(loss, model, from_logits)
    known = True if activation is not None else from_logits
    binary = loss is not None and loss_name(loss) in _BINARY

    def for_model(metric: Any, given: Any) -> Any:
        function, options = options_of(metric)
        if takes_logits(function):
            if "from_logits" in options:
                return metric
            shown = ends_in_logits(ending, link(function.__name__))
            are_logits = shown if known is None else known
            return functools.partial(metric, from_logits=True) if are_logits else metric
        made_from = lookup("metric", given) if isinstance(given, str) else given
        if isinstance(given, str) and made_from is metric_functions.accuracy and binary:
            metric, made_from = _accuracy, metric_functions.binary_accuracy
        if activation is None or not _is_registered(made_from):
            return metric
        return _of_logits(metric, activation) if takes_probabilities(made_from) else metric

    return {n: for_model(*pair) for n, *pair in zip(by_name, by_name.values(), given, strict=True)}


def _of_logits(metric: Metric | ExampleMetric, activation: str) -> Metric | ExampleMetric:
    """Return a metric of logits; a per-example function stays one, whose state has no outputs."""
    if isinstance(metric, Metric):
        return on_probabilities(metric, activation)

    @functools.wraps(metric)
    def function(y_true: Tensor, y_pred: Tensor) -> Tensor:
        return metric(y_true, ACTIVATIONS[activation](widen(y_pred)))

    return function


def _accuracy(y_true: Tensor, y_pred: Tensor) -> Tensor:
    """Return `accuracy` of several probabilities of an example, `binary_accuracy` of one."""
    y_pred = tf.convert_to_tensor(y_pred)
    one = y_pred.shape.rank and y_pred.shape[-1] == 1
    function = metric_functions.binary_accuracy if one else metric_functions.accuracy
    return function(y_true, y_pred)


def _is_registered(function: Any) -> bool:
    """Return whether a value is a function of the registry, without options."""
    return any(function is registered for registered in METRICS.values())
