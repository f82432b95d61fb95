"""The loss, the metrics and the regularizer of a trainer, given by name or as functions."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import keras
import tensorflow as tf

from trainlib.core.checks import check_not_class
from trainlib.core.tree import resolve_mask
from trainlib.core.types import Optimizer, Tree
from trainlib.losses import Loss
from trainlib.losses.inputs import match_ranks
from trainlib.metrics import ExampleMetric, Metric
from trainlib.registry import OPTIMIZERS, lookup, make_metric
from trainlib.regularizers import Regularizer, restrict
from trainlib.training.keras_losses import is_keras_function, loss_from_keras
from trainlib.training.keras_objects import metric_from_keras, regularizer_from_keras
from trainlib.transforms.decay import Mask

RESERVED_NAMES = ("loss", "epoch", "step", "seconds")
"""Names of results that are not metrics."""
Metrics: TypeAlias = Sequence[Any] | Mapping[str, Any]
"""Metrics as names, functions or objects of Keras, listed or by result name; or by output."""


def metrics_by_name(metrics: Metrics) -> dict[str, Metric | ExampleMetric]:
    """Return metrics by name: the keys of a mapping, names of the registry, or function names."""
    if isinstance(metrics, str):
        raise TypeError(f"metrics must be a list, got {metrics!r}: write [{metrics!r}]")
    if isinstance(metrics, keras.Metric):
        raise TypeError(f"metrics must be a list, got {metrics!r}: write [metric]")
    if isinstance(metrics, Metric) or any(isinstance(m, Metric) for m in metrics):
        raise TypeError('a Metric needs a name: write metrics={"f1": tl.metrics.f1_score()}')
    by_name: dict[str, Metric | ExampleMetric] = {}
    pairs = metrics.items() if isinstance(metrics, Mapping) else ((_name(m), m) for m in metrics)
    for name, metric in pairs:
        if name in by_name or name in RESERVED_NAMES:
            raise ValueError(
                f"two results are named {name!r}: give each metric a different name, as in "
                'metrics={"name": metric}'
            )
        by_name[name] = resolve_metric(metric)
    return by_name


def _name(metric: Any) -> str:
    """Return the name of a metric among the results."""
    if isinstance(metric, str):
        return metric
    name = metric.name if isinstance(metric, (keras.Metric, keras.Loss)) else None
    return str(name or getattr(metric, "__name__", repr(metric)))


def resolve_metric(metric: Any) -> Metric | ExampleMetric:
    """Return a metric: itself, the one of a name with its defaults, or that of a Keras object.

    Raises:
        ValueError: there is no such name.
        TypeError: it is none of these, or a class.
    """
    if isinstance(metric, Metric):
        return metric
    if isinstance(metric, str):
        return make_metric(metric)
    if isinstance(metric, keras.Metric):
        return metric_from_keras(metric)
    if isinstance(metric, keras.Loss) or is_keras_function(metric):
        return loss_from_keras(metric)
    found: ExampleMetric = _checked_function("metric", metric)
    return found


def resolve_loss(loss: Any) -> Loss:
    """Return a loss function: itself, the one of a name, or that of a Keras object.

    Raises:
        ValueError: there is no such name, or a Keras loss has another reduction than a mean.
        TypeError: it is none of these, or a class.
    """
    if isinstance(loss, str):
        found: Loss = lookup("loss", loss)
        return found
    if isinstance(loss, keras.Loss) or is_keras_function(loss):
        return loss_from_keras(loss)
    own: Loss = _checked_function("loss", loss)
    return own


def check_optimizer_argument(optimizer: Any) -> None:
    """Raise `TypeError` unless a trainer's optimizer is an `Optimizer`."""
    if isinstance(optimizer, Optimizer):
        return
    hint = ""
    if isinstance(optimizer, keras.Optimizer):
        hint = ": tl.interop.optimizer_from_keras(optimizer, model) converts one, once it is built"
    elif isinstance(optimizer, str) and optimizer in OPTIMIZERS:
        hint = f": write tl.{optimizer}()"
    elif callable(optimizer) and hasattr(optimizer, "__name__"):
        hint = f": call {optimizer.__name__}"
    raise TypeError(f"optimizer must be an Optimizer such as tl.adam(), got {optimizer!r}{hint}")


def is_custom(function: Any) -> bool:
    """Return whether a loss or a metric is a function that is neither Keras's nor trainlib's."""
    if isinstance(function, (str, keras.Loss)) or is_keras_function(function):
        return False
    return not _is_of_trainlib(function)


def _is_of_trainlib(function: Any) -> bool:
    """Return whether a function, or the one that a partial one calls, is of this library."""
    called = function.func if isinstance(function, functools.partial) else function
    return str(getattr(called, "__module__", "")).startswith("trainlib.")


def _checked_function(kind: str, value: Any) -> Any:
    """Return a function of y_true and y_pred; a custom one receives both in one rank and dtype."""
    check_not_class(kind, "a name, a function or an object", value)
    if not callable(value):
        raise TypeError(f"{kind} must be a name or a function (y_true, y_pred), got {value!r}")
    if _is_of_trainlib(value):
        return value
    return _with_matched_targets(value)


def _with_matched_targets(function: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """Return a function of y_true and y_pred that receives two tensors in the same rank.

    Targets that are floating have the dtype of the predictions, as in Keras.
    """

    @functools.wraps(function)
    def matched(y_true: Any, y_pred: Any) -> Any:
        if tf.nest.is_nested(y_true) or tf.nest.is_nested(y_pred):
            return function(y_true, y_pred)
        y_true, y_pred = match_ranks(y_true, y_pred)
        if y_true.dtype.is_floating and y_pred.dtype.is_floating:
            y_true = tf.cast(y_true, y_pred.dtype)
        return function(y_true, y_pred)

    return matched


def restrict_regularizer(
    regularizer: Regularizer | None, mask: Mask, params: Tree
) -> Regularizer | None:
    """Return the regularizer, restricted to the parameters of a mask that is checked on them."""
    if regularizer is None:
        return None
    check_not_class("regularizer", "a function such as tl.l2()", regularizer)
    if not callable(regularizer):
        raise TypeError(f"regularizer must be a function such as tl.l2(), got {regularizer!r}")
    if isinstance(regularizer, keras.Regularizer):
        regularizer = regularizer_from_keras(regularizer)
    resolve_mask(mask, params)
    return restrict(regularizer, mask)
