"""What a metric is: records of batches that add up, and a result at the end."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

import tensorflow as tf

from trainlib.core.checks import check_choice
from trainlib.core.tree import check_same_structure, widen
from trainlib.core.types import Tensor
from trainlib.losses import Masked, weighted_sum

ExampleMetric: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""`(y_true, y_pred) -> value of each example`."""
MetricState: TypeAlias = Any
"""A NamedTuple of float64 tensors; the record of two parts is the sum of their records."""

ACTIVATIONS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "sigmoid": lambda z: tf.sigmoid(z),
    "softmax": lambda z: tf.nn.softmax(z),
}


class Metric(NamedTuple):
    """Three pure functions over a metric state; states merge by addition alone, by `merge`.

    Attributes:
        empty: `(outputs) -> state` of no examples, where `outputs` is the length of the last axis
            of y_pred, 1 where y_pred has no axis but the batch.
        from_model_output: `(y_true, y_pred, sample_weight=None) -> state` of a batch. The weight of
            an example is the weight of each of its values; weight 0 leaves the example out.
        compute: `(state) -> value`, a float64 tensor; 0 for a state of no examples.
    """

    empty: Callable[[int], MetricState]
    from_model_output: Callable[..., MetricState]
    compute: Callable[[MetricState], Tensor]


class Mean(NamedTuple):
    """total: sum of weight times value; count: sum of weights. Both float64 []."""

    total: Tensor
    count: Tensor

    @classmethod
    def empty(cls) -> Mean:
        """The record of no examples."""
        return cls(tf.zeros([], tf.float64), tf.zeros([], tf.float64))

    @classmethod
    def from_model_output(cls, values: Tensor, sample_weight: Tensor | None = None) -> Mean:
        """The record of a batch of values of any dtype; booleans are taken for 0 and 1.

        Of `Masked` values those under the mask count.
        """
        if isinstance(values, Masked):
            values = Masked(tf.cast(values.values, tf.float64), values.mask)
        else:
            values = tf.cast(values, tf.float64)
        return cls(*weighted_sum(values, sample_weight))

    def merge(self, other: Mean) -> Mean:
        """The record of both parts together."""
        return Mean(self.total + other.total, self.count + other.count)

    def compute(self) -> Tensor:
        """total / count; 0 where nothing was counted."""
        return tf.math.divide_no_nan(self.total, self.count)


def merge(a: MetricState, b: MetricState) -> MetricState:
    """The record, or the structure of records, of both parts together: their sum.

    Raises:
        ValueError: records of two kinds.
    """
    check_same_structure("a record", a, "one merged with it", b)
    return tf.nest.map_structure(tf.add, a, b)


def mean(function: ExampleMetric) -> Metric:
    """The mean of a per-example function over the examples, sum(w v) / sum(w); its record, `Mean`.

    Args:
        function: `(y_true, y_pred) -> value of each example`.
    """

    def from_model_output(
        y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None
    ) -> Mean:
        return Mean.from_model_output(function(y_true, y_pred), sample_weight)

    return Metric(lambda outputs: Mean.empty(), from_model_output, Mean.compute)


def as_metric(metric: Metric | ExampleMetric) -> Metric:
    """A `Metric` as it is; of a per-example function, its mean."""
    return metric if isinstance(metric, Metric) else mean(metric)


def results(
    metrics: Mapping[str, Metric | ExampleMetric], records: Mapping[str, MetricState]
) -> dict[str, Tensor]:
    """The values of records by name; what is not among the metrics, the loss say, is a `Mean`."""
    return {
        name: as_metric(metrics[name]).compute(record) if name in metrics else record.compute()
        for name, record in records.items()
    }


def make_metric(entry: Callable[..., Any], **options: Any) -> Metric | ExampleMetric:
    """The metric of an entry of the registry, with these of its arguments.

    Args:
        entry: a per-example function, whose first argument is y_true, or a factory of a `Metric`.
        options: keyword arguments of the function or the factory.
    """
    if "y_true" in inspect.signature(entry).parameters:
        return functools.partial(entry, **options) if options else entry
    metric: Metric = entry(**options)
    return metric


def on_probabilities(metric: Metric | ExampleMetric, activation: str) -> Metric:
    """A metric of probabilities as one of logits, which it turns into probabilities first.

    Args:
        metric: a `Metric` or a per-example function.
        activation: "sigmoid" or "softmax" (over the last axis).

    Raises:
        ValueError: an activation of another name.
    """
    check_choice("activation", activation, ACTIVATIONS)
    inner, activate = as_metric(metric), ACTIVATIONS[activation]

    def from_model_output(
        y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None
    ) -> MetricState:
        return inner.from_model_output(y_true, activate(widen(y_pred)), sample_weight)

    return inner._replace(from_model_output=from_model_output)
