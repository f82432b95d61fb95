"""Metrics and regularizers of Keras as those of trainlib; `keras_losses.py` has its losses."""

from __future__ import annotations

import copy
import functools
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from trainlib.core.tree import total
from trainlib.core.types import Tensor
from trainlib.losses.inputs import match_ranks
from trainlib.metrics import Metric, mean
from trainlib.metrics.inputs import weights_like
from trainlib.regularizers import Regularizer
from trainlib.training.keras_losses import COUNTERPARTS
from trainlib.training.keras_private import has_its_variables


class KerasMetricState(NamedTuple):
    """State of a Keras metric: the sums in its variables.

    Attributes:
        variables: the values of the metric's variables, float64, in their shapes.
    """

    variables: tuple[Tensor, ...]


def metric_from_keras(metric: Any) -> Metric:
    """Turn a Keras metric into a `Metric` of the same value over all examples.

    The state of a batch has the amounts that the metric adds to its variables; the states of
    batches and replicas are added in float64.

    Args:
        metric: an object of a class derived from `keras.metrics.Metric`. Its own variables are not
            changed.

    Returns:
        A `Metric` with state `KerasMetricState`.

    Raises:
        ValueError: from `from_model_output`, if the metric does more than add to its variables,
            such as keep the largest value: states of batches then cannot be merged.

    Example:
        >>> import keras
        >>> metric = tl.metric_from_keras(keras.metrics.AUC(num_thresholds=3))
        >>> state = metric.from_model_output([0.0, 0.0, 1.0, 1.0], [0.0, 0.5, 0.3, 0.9])
        >>> float(metric.compute(state))
        0.75
    """
    known = type(metric).__module__.startswith("keras.")
    sorted_ids = getattr(metric, "from_sorted_ids", False)  # predictions are no scores then
    if known and type(metric).__name__ in COUNTERPARTS and not sorted_ids:
        return mean(functools.partial(COUNTERPARTS[type(metric).__name__], k=metric.k))
    if known and hasattr(metric, "sparse_y_true"):  # its integer dtype would truncate the weights
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
        # A result may be a variable, whose value is that of the state only within the scope.
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
        self._lazy = not has_its_variables(metric)
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
