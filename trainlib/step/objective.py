"""The loss of a batch: its sums, the differentiated objective, and the metric states."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from trainlib.core.types import Tensor, Tree
from trainlib.losses import weighted_sum
from trainlib.metrics import Mean, as_metric
from trainlib.step.state import Batch, MetricStates, ModelOutput, StepConfig


class LossSums(NamedTuple):
    """The loss of a batch before the division, total / count + penalty.

    Attributes:
        losses: l, the loss of each example.
        total: sum of w l, with the weights w of the batch, or 1.
        count: sum of w.
        penalty: of the model and of the regularizer together.
    """

    losses: Tensor
    total: Tensor
    count: Tensor
    penalty: Tensor


def loss_sums(config: StepConfig, params: Tree, output: ModelOutput, batch: Batch) -> LossSums:
    """Return the sums of a batch's loss."""
    _, y, *weight = batch
    losses = config.loss_fn(y, output.y_pred)
    total, count = weighted_sum(losses, *weight)
    penalty = tf.cast(output.penalty, total.dtype)
    if config.regularizer is not None:
        penalty += tf.cast(config.regularizer(params), total.dtype)
    return LossSums(losses, total, count, penalty)


def objective(sums: LossSums) -> tuple[Tensor, Tensor]:
    """Return the loss of a whole batch, which the step differentiates, and the batch's weight."""
    return tf.math.divide_no_nan(sums.total, sums.count) + sums.penalty, sums.count


def objective_of_part(sums: LossSums) -> tuple[Tensor, Tensor]:
    """Return the loss that a replica differentiates, and omega, the weight of its penalty.

    Both are divided by the number of losses, which all replicas share, so that gradients in float16
    are as large as those of a mean. Where no example counts, omega is a little above 0: on a batch
    of weight 0 the gradient is that of the penalty, as it is on one device.
    """
    size = tf.cast(tf.size(sums.losses), sums.total.dtype)
    tiny = tf.constant(1e-30, sums.count.dtype)
    omega = tf.where(sums.count == 0, tiny, sums.count) / size
    return sums.total / size + omega * sums.penalty, omega


def metric_states(
    config: StepConfig, output: ModelOutput, batch: Batch, sums: LossSums
) -> MetricStates:
    """Return the states of the loss and of the metrics after one batch, by name."""
    _, y, *weight = batch
    total = sums.total + sums.penalty * sums.count
    loss = Mean(tf.cast(total, tf.float64), tf.cast(sums.count, tf.float64))
    states: MetricStates = {"loss": loss}
    for name, metric in config.metrics.items():
        try:
            states[name] = as_metric(metric).from_model_output(y, output.y_pred, *weight)
        except (ValueError, TypeError) as error:
            raise type(error)(f"metric {name}: {error}") from error
    return states
