"""The type of a metric, the mean, and functions of metrics."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

import tensorflow as tf

from trainlib.core.checks import check_choice
from trainlib.core.tree import check_same_structure, widen
from trainlib.core.types import Tensor
from trainlib.losses import Masked, weighted_sum
from trainlib.losses.reductions import per_example

ExampleMetric: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""`(y_true, y_pred) -> value of each example`."""
MetricState: TypeAlias = Any
"""A NamedTuple of float64 tensors; the state of two parts is the sum of their states."""

ACTIVATIONS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "sigmoid": lambda z: tf.sigmoid(z),
    "softmax": lambda z: tf.nn.softmax(z),
}


class Metric(NamedTuple):
    """Three pure functions of a metric state.

    States merge by addition alone, by `merge`.

    Attributes:
        empty: `(outputs) -> state` of no examples, where `outputs` is the length of the last axis
            of y_pred, or 1 if y_pred has only a batch axis.
        from_model_output: `(y_true, y_pred, sample_weight=None) -> state` of a batch. The weight of
            an example is the weight of each of its values; weight 0 excludes the example.
        compute: `(state) -> value`, a float64 tensor; 0 for a state of no examples.

    Example:
        >>> metric = tl.metrics.f1_score(average="micro")
        >>> first = metric.from_model_output([0, 1], [[0.9, 0.1], [0.8, 0.2]])
        >>> second = metric.from_model_output([1], [[0.3, 0.7]])
        >>> print(f"{float(metric.compute(tl.metrics.merge(first, second))):.3f}")
        0.667
    """

    empty: Callable[[int], MetricState]
    from_model_output: Callable[..., MetricState]
    compute: Callable[[MetricState], Tensor]


class OutputMetric(NamedTuple):
    """A metric of one of several outputs of a model, in the place of a metric in `StepConfig`.

    Attributes:
        output: name of the output, one of those of the `LossByOutput`.
        metric: a `Metric`, or a function `(y_true, y_pred) -> value of each example`.

    Example:
        >>> metric = tl.metrics.OutputMetric("aux", tl.metrics.accuracy)
        >>> float(tl.metrics.as_metric(metric).empty(3).compute())
        0.0
    """

    output: str
    metric: Metric | ExampleMetric


class Mean(NamedTuple):
    """State of a weighted mean.

    Attributes:
        total: sum of weight times value, float64 []. Of an example with several values, such as the
            steps of a sequence, it is their mean.
        count: sum of weights, of an example the mean weight of its values, float64 [].

    Example:
        >>> mean = tl.metrics.Mean.from_model_output([1.0, 4.0], sample_weight=[1.0, 3.0])
        >>> float(mean.compute())
        3.25
    """

    total: Tensor
    count: Tensor

    @classmethod
    def empty(cls) -> Mean:
        """Return the state of no examples."""
        return cls(tf.zeros([], tf.float64), tf.zeros([], tf.float64))

    @classmethod
    def from_model_output(cls, values: Tensor, sample_weight: Tensor | None = None) -> Mean:
        """Return the state of a batch of values.

        Args:
            values: numbers of any dtype; booleans count as 0 and 1. Of `Masked` values, only those
                under the mask count.
            sample_weight: shape [batch], or the shape of values. Default: None, a weight of 1.

        Raises:
            ValueError: the weights have another shape.
        """
        return cls(*(per_example(x, values) for x in _wide_sums(values, sample_weight)))

    def merge(self, other: Mean) -> Mean:
        """Return the state of both parts together."""
        return Mean(self.total + other.total, self.count + other.count)

    def compute(self) -> Tensor:
        """Return total / count; 0 if count is 0."""
        return tf.math.divide_no_nan(self.total, self.count)


def _wide_sums(values: Tensor, sample_weight: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return the sums of the weighted values and of the weights, in float64."""
    if isinstance(values, Masked):
        values = Masked(tf.cast(values.values, tf.float64), values.mask)
    else:
        values = tf.cast(values, tf.float64)
    return weighted_sum(values, sample_weight)


def merge(a: MetricState, b: MetricState) -> MetricState:
    """Merge two metric states, or two structures of them, by addition.

    Args:
        a: a metric state, or a structure of metric states.
        b: another of the same structure.

    Returns:
        The state of both parts together, in the structure of a.

    Raises:
        ValueError: the structures differ.

    Example:
        >>> first = tl.metrics.Mean.from_model_output([1.0])
        >>> second = tl.metrics.Mean.from_model_output([2.0, 3.0])
        >>> float(tl.metrics.merge(first, second).compute())
        2.0
    """
    check_same_structure("a metric state", a, "one merged with it", b)
    return tf.nest.map_structure(tf.add, a, b)


def mean(function: ExampleMetric) -> Metric:
    """Turn a per-example function into a `Metric`, its mean over the examples, sum(w v) / sum(w).

    Args:
        function: `(y_true, y_pred) -> value of each example`.

    Returns:
        A `Metric` whose state is a `Mean`.

    Example:
        >>> metric = tl.metrics.mean(tl.metrics.binary_accuracy)
        >>> state = metric.from_model_output([1.0, 0.0], [0.9, 0.7])
        >>> float(metric.compute(state))
        0.5
    """

    def from_model_output(
        y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None
    ) -> Mean:
        return Mean.from_model_output(function(y_true, y_pred), sample_weight)

    return Metric(lambda outputs: Mean.empty(), from_model_output, Mean.compute)


def sum(function: Callable[[Tensor, Tensor], Tensor] | None = None) -> Metric:  # noqa: A001
    """Turn a per-example function into a `Metric`, the sum of its values, sum(w v).

    Args:
        function: `(y_true, y_pred) -> value of each example`. Default: None, the predictions.

    Returns:
        A `Metric` whose state is a `Mean`.

    Example:
        >>> metric = tl.metrics.sum(tl.metrics.binary_accuracy)
        >>> state = metric.from_model_output([1.0, 0.0, 1.0], [0.9, 0.7, 0.8])
        >>> float(metric.compute(state))
        2.0
    """

    def from_model_output(
        y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None
    ) -> Mean:
        values = y_pred if function is None else function(y_true, y_pred)
        return Mean(*_wide_sums(values, sample_weight))

    return Metric(lambda outputs: Mean.empty(), from_model_output, lambda state: state.total)


def as_metric(metric: Metric | ExampleMetric | OutputMetric) -> Metric:
    """Return a `Metric` unchanged; turn a per-example function into its mean.

    Args:
        metric: a `Metric`, or a function `(y_true, y_pred) -> value of each example`; or one of
            these of an output.

    Returns:
        A `Metric`.

    Example:
        >>> metric = tl.metrics.auc()
        >>> tl.metrics.as_metric(metric) is metric
        True
    """
    if isinstance(metric, OutputMetric):
        metric = metric.metric
    return metric if isinstance(metric, Metric) else mean(metric)


def results(
    metrics: Mapping[str, Metric | ExampleMetric | OutputMetric],
    states: Mapping[str, MetricState],
) -> dict[str, Tensor]:
    """Compute the values of metric states by name.

    Args:
        metrics: by name, a `Metric`, a per-example function, or one of these of an output.
        states: by name; a state whose name is not among the metrics, such as the loss, computes
            its own value.

    Returns:
        The value of each state, float64. Of a metric of several named values, each is under its
        name after that of the metric, as "ranks_top".

    Example:
        >>> states = {"loss": tl.metrics.Mean.from_model_output([0.5, 1.5])}
        >>> float(tl.metrics.results({}, states)["loss"])
        1.0
    """
    values: dict[str, Tensor] = {}
    for name, state in states.items():
        value = as_metric(metrics[name]).compute(state) if name in metrics else state.compute()
        values |= by_value_name(name, value)
    return values


def by_value_name(name: str, value: Any) -> dict[str, Any]:
    """Return the value of a metric by its name; of named values, each by both, as "ranks_top"."""
    if isinstance(value, Mapping):
        return {f"{name}_{key}": x for key, x in value.items()}
    return {name: value}


def on_probabilities(metric: Metric | ExampleMetric, activation: str) -> Metric:
    """Apply an activation to y_pred before a metric, to turn logits into probabilities.

    Args:
        metric: a `Metric` or a per-example function.
        activation: "sigmoid" or "softmax" (over the last axis).

    Returns:
        A `Metric` of logits.

    Raises:
        ValueError: the activation is unknown.

    Example:
        >>> metric = tl.metrics.on_probabilities(tl.metrics.precision(), "sigmoid")
        >>> state = metric.from_model_output([1, 0], [2.0, -1.0])
        >>> float(metric.compute(state))
        1.0
    """
    check_choice("activation", activation, ACTIVATIONS)
    inner, activate = as_metric(metric), ACTIVATIONS[activation]

    def from_model_output(
        y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None
    ) -> MetricState:
        return inner.from_model_output(y_true, activate(widen(y_pred)), sample_weight)

    return inner._replace(from_model_output=from_model_output)
