"""The metric states over no examples, the initial values of a loop of steps."""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow as tf

from trainlib.core.types import Tensor, Tree
from trainlib.losses import LossByOutput
from trainlib.metrics import ExampleMetric, Mean, Metric, OutputMetric, as_metric
from trainlib.metrics.inputs import num_columns
from trainlib.step.output_parts import outputs_by_name
from trainlib.step.outputs import empty_loss_states
from trainlib.step.state import NORMS, MetricStates, ModelOutput, StepConfig


def empty_states(
    config: StepConfig, columns: Mapping[str, int] | None = None, training: bool = False
) -> MetricStates:
    """Return the states of the loss, the metrics and the norms over no examples, by name.

    Args:
        config: the loss and the metrics.
        columns: length of the last axis of each output, from `columns_by_output`. Default: None, 1
            for each output.
        training: whether the states are those of training, with norms if the config asks for them.
            Default: False.
    """
    metrics = {
        name: as_metric(metric).empty(1 if columns is None else columns[_output_of(metric)])
        for name, metric in config.metrics.items()
    }
    norms = {name: Mean.empty() for name in NORMS if training and config.norms}
    return {**empty_loss_states(config), **metrics, **norms}


def sized_metrics(config: StepConfig) -> list[str]:
    """Return the names of the metrics whose states depend on the number of columns."""
    return [
        name
        for name, metric in config.metrics.items()
        if isinstance(metric.metric if isinstance(metric, OutputMetric) else metric, Metric)
    ]


def columns_by_output(config: StepConfig, y_pred: Tree) -> dict[str, int]:
    """Return the length of the last axis of the predictions, by output.

    It is 1 for predictions with the axis of the batch only. A model of one output has the name "".

    Args:
        config: the loss, by output or not, and the metrics.
        y_pred: predictions, or their specs.

    Raises:
        ValueError: the model has several outputs, but one loss.
    """
    if isinstance(config.loss_fn, LossByOutput):
        outputs = outputs_by_name(config.loss_fn, ModelOutput(y_pred))
        return {name: _last_axis(output.y_pred) for name, output in outputs.items()}
    if tf.nest.is_nested(y_pred):
        raise ValueError(
            f"metrics {', '.join(sized_metrics(config))} need a model of one output: for a model "
            "of several, give a loss for each output, and metrics by output"
        )
    return {"": _last_axis(y_pred)}


def _output_of(metric: Metric | ExampleMetric | OutputMetric) -> str:
    """Return the output of a metric; "" for one of a model of one output."""
    return metric.output if isinstance(metric, OutputMetric) else ""


def _last_axis(y_pred: Tensor) -> int:
    """Return the length of the last axis of predictions; 1 if they have only the batch axis."""
    return num_columns(y_pred) if y_pred.shape.rank > 1 else 1
