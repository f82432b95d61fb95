"""Losses, metrics and regularizers of Keras as those of trainlib."""

from __future__ import annotations

import copy
import functools
import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from trainlib.core.tree import total
from trainlib.core.types import Tensor, Tree
from trainlib.losses import Loss, Masked
from trainlib.losses.inputs import match_ranks
from trainlib.metrics import (
    Metric,
    mean,
    sparse_top_k_categorical_accuracy,
    top_k_categorical_accuracy,
)
from trainlib.metrics.inputs import weights_like
from trainlib.regularizers import Regularizer

COUNTERPARTS = {
    "TopKCategoricalAccuracy": top_k_categorical_accuracy,
    "SparseTopKCategoricalAccuracy": sparse_top_k_categorical_accuracy,
}
"""Metrics of Keras that XLA cannot compile, and those of the same values that it can."""
REDUCTIONS = ("sum_over_batch_size", "mean", "mean_with_sample_weight")
"""The reductions of Keras that are means."""


class KerasMetricState(NamedTuple):
    """State of a Keras metric: the sums in its variables.

    Attributes:
        variables: the values of the variables, float64.
    """

    variables: tuple[Tensor, ...]


def is_keras_function(value: Any) -> bool:
    """Return whether a value is a function of Keras, such as `keras.losses.huber`."""
    return inspect.isfunction(value) and value.__module__.startswith("keras.")


def loss_from_keras(loss: Any) -> Loss:
    """Turn a Keras loss into a function `(y_true, y_pred) -> loss of each example`.

    Its options, such as from_logits and label_smoothing, are kept. Its reduction must be a mean:
    the losses of an epoch are added and divided once, by the sum of their weights, so that the
    batches of an epoch count by their sizes.

    Args:
        loss: an object of a class derived from `keras.losses.Loss`, or a function of Keras.

    Returns:
        The function; its losses are `Masked` where Keras masks them. It computes in float64 if
        y_pred is float64, else in the dtype of the loss.

    Raises:
        ValueError: the reduction is "sum" or none.

    Example:
        >>> import keras
        >>> loss = tl.loss_from_keras(keras.losses.BinaryCrossentropy(from_logits=True))
        >>> loss(tf.constant([1.0, 0.0]), tf.constant([[0.0], [0.0]])).numpy().round(3)
        array([0.693, 0.693], dtype=float32)

    Differences:
        Keras: the sum is divided by the number of losses, whatever their weights, unless the
            reduction is "mean_with_sample_weight".
    """
    if is_keras_function(loss):
        for counterpart in COUNTERPARTS.values():
            if loss.__name__ == counterpart.__name__:
                return counterpart
        return _named(loss.__name__, functools.partial(_call, loss, None))
    if loss.reduction not in REDUCTIONS:
        raise ValueError(
            f"{type(loss).__name__} has reduction={loss.reduction!r}, but the loss of a batch is a "
            "mean here: leave the reduction out"
        )
    return _named(loss.name, functools.partial(_call, loss.call, loss.dtype))


def _named(name: str, function: Any) -> Loss:
    """Return the function with a name for messages."""
    function.__name__ = name
    named: Loss = function
    return named


def _call(function: Callable[..., Tensor], dtype: str | None, y_true: Tree, y_pred: Tree) -> Tensor:
    """Return the losses of a Keras function of structures, in a dtype; `Masked` with its mask."""
    pairs = [(y_true, y_pred)]
    if tf.nest.is_nested(y_pred):
        pairs = list(zip(tf.nest.flatten(y_true), tf.nest.flatten(y_pred), strict=True))
    matched = [match_ranks(*_in_dtype(y, p, dtype)) for y, p in pairs]
    y_true, y_pred = (
        tf.nest.pack_sequence_as(x, [pair[i] for pair in matched])
        for i, x in enumerate((y_true, y_pred))
    )
    values = function(y_true, y_pred)
    mask = getattr(values, "_keras_mask", None)
    return values if mask is None else Masked.where(tf.cast(mask, tf.bool), values)


def _in_dtype(y_true: Tensor, y_pred: Tensor, dtype: str | None) -> tuple[Tensor, Tensor]:
    """Return both in the dtype of a Keras loss; in float64 where y_pred is."""
    y_true, y_pred = tf.convert_to_tensor(y_true), tf.convert_to_tensor(y_pred)
    if dtype is None:
        return y_true, y_pred
    wide = tf.float64 if y_pred.dtype == tf.float64 else tf.as_dtype(dtype)
    return tf.cast(y_true, wide), y_pred if y_pred.dtype == wide else tf.cast(y_pred, wide)


def metric_from_keras(metric: Any) -> Metric:
    """Turn a Keras metric into a `Metric` of the same value over all examples.

    The state of a batch is what the metric adds to its variables; the states of batches and
    replicas are added in float64.

    Args:
        metric: an object of a class derived from `keras.metrics.Metric`. Its own variables are not
            changed.

    Returns:
        A `Metric` with state `KerasMetricState`.

    Raises:
        ValueError: from `from_model_output`, the metric does not only add to its variables, as one
            that keeps the largest value: the states of batches cannot be merged.

    Example:
        >>> import keras
        >>> metric = tl.metric_from_keras(keras.metrics.AUC(num_thresholds=3))
        >>> state = metric.from_model_output([0.0, 0.0, 1.0, 1.0], [0.0, 0.5, 0.3, 0.9])
        >>> float(metric.compute(state))
        0.75
    """
    known = type(metric).__module__.startswith("keras.")
    if known and type(metric).__name__ in COUNTERPARTS:
        return mean(functools.partial(COUNTERPARTS[type(metric).__name__], k=metric.k))
    if known and hasattr(metric, "sparse_y_true"):  # whole numbers would cut off the weights
        metric = type(metric).from_config(metric.get_config() | {"dtype": "float32"})
    copies = _Copies(metric)
    checked = {True, False} if known else set()  # with weights, and without

    def empty(outputs: int) -> KerasMetricState:
        zeros = [tf.zeros(v.shape, tf.float64) for v in copies.of(outputs).variables]
        return KerasMetricState(tuple(zeros))

    def from_model_output(
        y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None
    ) -> KerasMetricState:
        y_true, y_pred = match_ranks(y_true, y_pred)
        ours = copies.of(y_pred.shape[-1] if y_pred.shape.rank > 1 else 1)
        weights = {}
        if sample_weight is not None:
            weights["sample_weight"] = _weights_for(ours, sample_weight, y_true)
        if bool(weights) not in checked:
            _check_adds(ours, (y_true, y_pred), weights)
            checked.add(bool(weights))
        zeros = [tf.zeros(v.shape, v.dtype) for v in ours.variables]
        new = ours.stateless_update_state(zeros, y_true, y_pred, **weights)
        return KerasMetricState(tuple(tf.cast(x, tf.float64) for x in new))

    def compute(state: KerasMetricState) -> Tensor:
        ours = copies.like(state)
        values = [tf.cast(x, v.dtype) for x, v in zip(state.variables, ours.variables, strict=True)]
        # A result may be a variable itself, which has the values of the state in the scope only.
        with keras.StatelessScope(list(zip(ours.variables, values, strict=True))):
            return keras.tree.map_structure(
                lambda x: tf.cast(x.value if isinstance(x, keras.Variable) else x, tf.float64),
                ours.result(),
            )

    return Metric(empty, from_model_output, compute)


class _Copies:
    """A Keras metric, or copies of one that makes its variables when it first sees predictions."""

    def __init__(self, metric: Any) -> None:
        self._metric = metric
        self._lazy = not (getattr(metric, "_built", True) and metric.variables)
        self._by_outputs: dict[int, Any] = {}

    def of(self, outputs: int) -> Any:
        """Return the metric for predictions of that length of the last axis."""
        if not self._lazy:
            return self._metric
        if outputs not in self._by_outputs:
            with tf.init_scope():
                made = copy.deepcopy(self._metric)
                zeros = tf.zeros([1, outputs])
                made.update_state(zeros, zeros)
            self._by_outputs[outputs] = made
        return self._by_outputs[outputs]

    def like(self, state: KerasMetricState) -> Any:
        """Return the metric whose variables have the shapes of a state."""
        shapes = [tuple(x.shape) for x in state.variables]
        candidates = self._by_outputs.values() if self._lazy else [self._metric]
        return next(m for m in candidates if [tuple(v.shape) for v in m.variables] == shapes)


def _weights_for(metric: Any, weight: Tensor, y_true: Tensor) -> Tensor:
    """Return weights as the metric takes them: for each label, where it flattens the labels."""
    if not hasattr(metric, "sparse_y_true"):
        return weight
    labels = y_true if metric.sparse_y_true else y_true[..., 0]
    return tf.cast(weights_like(weight, labels), metric.dtype)


def _check_adds(metric: Any, pair: tuple[Tensor, Tensor], weights: dict[str, Tensor]) -> None:
    """Raise `ValueError` unless the metric adds to its variables, numbers that have weights.

    The graph of its update is read: each new value must be the old one plus what depends on no
    old one.
    """

    def spec(x: Tensor) -> Any:
        return tf.TensorSpec(x.shape, x.dtype)

    old = [tf.TensorSpec(v.shape, v.dtype) for v in metric.variables]
    with tf.init_scope():
        update = tf.function(
            lambda old, pair, weights: metric.stateless_update_state(old, *pair, **weights),
            autograph=False,
        )
        structure = tf.nest.map_structure(spec, (pair, weights))
        graph = update.get_concrete_function(old, *structure).graph
    held = [x.op.name for x in graph.inputs[: len(old)]]
    given = [x.op.name for x in graph.inputs[len(old) + len(pair) :]] if weights else []
    name = type(metric).__name__
    for variable, before, new in zip(metric.variables, held, graph.outputs, strict=True):
        added = _added(_source(new), before)
        if added is None or any(_ancestors(x) & {*held} for x in added):
            raise ValueError(
                f"metric {name} does more than add to its variable {variable.name!r}, so that the "
                "states of batches cannot be merged: write a tl.metrics.Metric of sums"
            )
        if given and added and not any(_ancestors(x) & {*given} for x in added):
            raise ValueError(
                f"metric {name} adds to its variable {variable.name!r} without regard to "
                "sample_weight, which the rows that fill up a batch have too: multiply by it"
            )


def _source(x: Any) -> Any:
    """Return the tensor that reaches a tensor through identities."""
    while x.op.type in ("Identity", "StopGradient", "EnsureShape"):
        x = x.op.inputs[0]
    return x


def _added(x: Any, before: str) -> list[Any] | None:
    """Return what was added to a placeholder to give a tensor; None if it is not such a sum."""
    if x.op.name == before:
        return []
    if x.op.type not in ("Add", "AddV2", "AddN", "Sub"):
        return None
    terms = [_source(term) for term in x.op.inputs]
    rest = [term for term in terms if term.op.name != before]
    from_old = x.op.type != "Sub" or terms[0].op.name == before
    return rest if from_old and len(rest) == len(terms) - 1 else None


def _ancestors(x: Any) -> set[str]:
    """Return the names of the operations from which a tensor is computed."""
    names: set[str] = set()
    found = [x.op]
    while found:
        op = found.pop()
        if op.name not in names:
            names.add(op.name)
            found.extend(y.op for y in op.inputs)
    return names


def regularizer_from_keras(regularizer: Any) -> Regularizer:
    """Turn a Keras regularizer into a function `params -> penalty`, a sum over the parameters.

    Args:
        regularizer: an object of a class derived from `keras.regularizers.Regularizer`.

    Returns:
        The function.

    Example:
        >>> import keras
        >>> penalty = tl.regularizer_from_keras(keras.regularizers.L2(0.5))
        >>> float(penalty({"w": tf.constant([1.0, -3.0])}))
        5.0
    """
    return lambda params: total([regularizer(w) for w in tf.nest.flatten(params)])
