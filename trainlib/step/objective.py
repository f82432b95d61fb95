"""The loss of a batch: its sums, the differentiated objective, and the metric states."""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple

import tensorflow as tf

from trainlib.core.graph import depends_on
from trainlib.core.types import Tensor, Tree
from trainlib.losses import Loss, Masked, weighted_sum
from trainlib.losses.reductions import per_example
from trainlib.metrics import Mean
from trainlib.regularizers import Regularizer
from trainlib.step.masks import is_whole, masked, masked_state, under
from trainlib.step.output_parts import of_output
from trainlib.step.state import Batch, MetricStates, ModelOutput, Part, StepConfig

OF_WEIGHTS = "mean_with_sample_weight"
"""Keras's reduction that divides by the sum of the weights; others divide by the number."""


class LossSums(NamedTuple):
    """Sums of the loss of a batch, which is total / count + penalty.

    Attributes:
        losses: l, the losses of the examples, [batch, ...].
        total: sum of w l, with the sample weights w, or 1; a floating scalar.
        count: sum of w over the losses that are not masked, a floating scalar; their number for a
            loss with the reduction "sum_over_batch_size".
        penalty: penalty of the model plus that of the regularizer, a floating scalar.
        batch_weight: weight of the batch, float64 [], for a loss that is averaged over batches
            instead of examples: one under the model's mask, one that is a single number for the
            batch, a loss of Keras with masks or "mean_with_sample_weight", and one with a penalty
            that is computed from the inputs of a part. It is the number of examples, or the sum of
            their weights; for a loss of Keras the number. None for other losses.
        states: for a `LossByOutput`, the states of the total loss and of the losses of the outputs,
            by name; None otherwise.
        by_output: for a `LossByOutput`, the sums of the losses that are averaged over batches, and
            of a penalty that is computed from the inputs of a part, by name of their state (see
            `outputs.py`); None otherwise.
    """

    losses: Tensor
    total: Tensor
    count: Tensor
    penalty: Tensor
    batch_weight: Tensor | None = None
    states: MetricStates | None = None
    by_output: dict[str, Any] | None = None


class BatchLoss(NamedTuple):
    """Sums over the parts of a batch, for a loss that is averaged over batches; float64 scalars.

    Attributes:
        total: sum of w l, with the losses l and the sample weights w, or 1.
        count: sum of w over the losses that are not masked.
        penalty: sum over the parts of penalty times number of examples.
        examples: number of examples.
        batch_weight: weight of the batch in the mean over batches.
    """

    total: Tensor
    count: Tensor
    penalty: Tensor
    examples: Tensor
    batch_weight: Tensor


def loss_sums(
    loss_fn: Loss,
    regularizer: Regularizer | None,
    params: Tree,
    output: ModelOutput,
    batch: Batch,
    *,
    is_part: bool = False,
) -> LossSums:
    """Return the sums of a batch's loss.

    Args:
        loss_fn: the loss.
        regularizer: the regularizer; None for none.
        params: the parameters.
        output: result of the model on the batch.
        batch: `(x, y)` or `(x, y, sample_weight)`.
        is_part: whether the batch is a replica's part of a larger batch. Default: False.

    Raises:
        ValueError: the loss is one number for a batch that is a replica's part.
    """
    x, y, *weight = batch
    losses = _mean_unless_by_example(masked(loss_fn, y, output), output.y_pred)
    whole, is_masked = is_whole(losses), isinstance(losses, Masked)
    if whole and is_part:
        raise ValueError(
            "the loss has no value for each example, and each replica has a part of the batch: "
            "give the loss an axis, or the model outputs of shape [batch, 1], or train with "
            "strategy='one_device'"
        )
    total, count = weighted_sum(losses, *weight)
    penalty = penalty_of(regularizer, params, output, total.dtype)
    reduction = getattr(loss_fn, "reduction", None)
    if reduction is None:
        by_batch, rows = whole or (is_masked and output.mask is not None), weight
    else:
        by_batch, rows = whole or is_masked or (reduction == OF_WEIGHTS and bool(weight)), []
        if reduction != OF_WEIGHTS:
            count = weighted_sum(_present(losses, output))[1]
    by_batch |= is_part and is_of_batch(output, x)
    batch_weight = weight_of_batch(x, output.part, *rows) if by_batch else None
    return LossSums(losses, total, count, penalty, batch_weight)


def _mean_unless_by_example(losses: Tensor | Masked, y_pred: Tree) -> Tensor | Masked:
    """Return the losses of examples, or of their positions, as they are; the mean of others.

    Others, such as a loss of each class, are of the batch: as in Keras, it counts by its examples.
    """
    if isinstance(losses, Masked) or tf.nest.is_nested(y_pred):
        return losses
    values, shape = tf.convert_to_tensor(losses), tf.convert_to_tensor(y_pred).shape
    if not values.shape.rank or not shape.rank or values.shape[0] is None:
        return losses
    known = itertools.takewhile(lambda n: n is not None, shape)
    by_example = values.shape[0] in itertools.accumulate(known, lambda a, b: a * b)
    return losses if by_example else tf.reduce_mean(values)


def penalty_of(
    regularizer: Regularizer | None, params: Tree, output: ModelOutput, dtype: tf.DType
) -> Tensor:
    """Return the penalty of the model and of the regularizer together."""
    penalty = tf.cast(output.penalty, dtype)
    if regularizer is not None:
        params = params if output.params is None else output.params
        penalty += tf.cast(regularizer(params), dtype)
    return penalty


def objective(sums: LossSums) -> tuple[Tensor, Tensor]:
    """Return the loss of a whole batch, which the step differentiates, and the batch's weight."""
    return tf.math.divide_no_nan(sums.total, sums.count) + sums.penalty, sums.count


def objective_of_part(sums: LossSums, output: ModelOutput, batch: Batch) -> tuple[Tensor, Tensor]:
    """Return the loss that a replica differentiates, and omega, the weight of its penalty.

    Both are divided by the number of losses of the largest part, which all replicas share, so that
    gradients in float16 are as large as those of a mean. Where no example counts, omega is a little
    above 0: on a batch of weight 0 the gradient is that of the penalty, as it is on one device.

    Raises:
        ValueError: the penalty is computed from the inputs, and the weights of the parts are not
            the numbers of their examples.
    """
    check_penalty(sums, output, batch)
    part = output.part
    losses = sums.losses.values if isinstance(sums.losses, Masked) else sums.losses
    number = tf.size(losses)
    if part is not None and losses.shape[0] != part.rows:
        number = number // tf.shape(losses)[0] * part.rows
    size = tf.cast(number, sums.total.dtype)
    # Too small to change a sum of weights, and large enough that the product with the gradient of a
    # penalty does not underflow in float32 (below 1e-38).
    tiny = tf.constant(1e-18, sums.count.dtype)
    omega = tf.where(sums.count == 0, tiny, sums.count) / size
    return sums.total / size + omega * sums.penalty, omega


def metric_states(
    config: StepConfig,
    output: ModelOutput,
    batch: Batch,
    sums: LossSums,
    *,
    is_part: bool = False,
) -> MetricStates:
    """Return the states of the loss and of the metrics after one batch, by name."""
    states: MetricStates = {"loss": loss_state(sums)} if sums.states is None else dict(sums.states)
    for name, metric in config.metrics.items():
        try:
            one, of_one, (_, y, *weight) = of_output(config, metric, output, batch)
            states[name] = masked_state(one, y, of_one, *weight, is_part=is_part)
        except (ValueError, TypeError) as error:
            raise type(error)(f"metric {name}: {error}") from error
    return states


def batch_loss_state(loss: Tensor, batch_weight: Tensor) -> Mean:
    """Return the state of the loss of a batch, given its loss and its weight."""
    weight = tf.cast(batch_weight, tf.float64)
    return Mean(tf.cast(loss, tf.float64) * weight, weight)


def batch_loss(sums: LossSums, x: Tree) -> BatchLoss:
    """Return the sums of a loss that is averaged over batches, on a part with inputs x."""
    assert sums.batch_weight is not None
    total, count, penalty = (
        tf.cast(value, tf.float64) for value in (sums.total, sums.count, sums.penalty)
    )
    examples = weight_of_batch(x)
    return BatchLoss(total, count, penalty * examples, examples, sums.batch_weight)


def whole_batch_loss(sums: BatchLoss) -> Tensor:
    """Return the loss of a batch, `objective`, given the sums over all of its parts."""
    mean = tf.math.divide_no_nan(sums.total, sums.count)
    return mean + sums.penalty / sums.examples


def loss_state(sums: LossSums) -> Mean:
    """Return the state of the loss after one batch."""
    if sums.batch_weight is not None:
        return batch_loss_state(objective(sums)[0], sums.batch_weight)
    sums_of_batch = sums.total + sums.penalty * sums.count, sums.count
    return Mean(*(per_example(tf.cast(x, tf.float64), sums.losses) for x in sums_of_batch))


def weight_of_batch(
    x: Tree, part: Part | None = None, sample_weight: Tensor | None = None
) -> Tensor:
    """Return the number of examples of a batch, or the sum of their mean weights."""
    if sample_weight is None:
        if part is not None and part.present is not None:
            return tf.reduce_sum(tf.cast(part.present, tf.float64))
        return tf.cast(tf.shape(tf.nest.flatten(x)[0])[0], tf.float64)
    weight = tf.cast(sample_weight, tf.float64)
    per_example = tf.cast(tf.reduce_prod(tf.shape(weight)[1:]), tf.float64)
    return tf.reduce_sum(weight) / per_example


def _present(losses: Tensor, output: ModelOutput) -> Tensor:
    """Return the losses, with those of absent examples masked."""
    present = None if output.part is None else output.part.present
    return losses if present is None else under(present, losses)


def is_of_batch(output: ModelOutput, x: Tree) -> bool:
    """Return whether the penalty of a model is computed from its inputs."""
    inputs = [a for a in tf.nest.flatten(x) if tf.is_symbolic_tensor(a)]
    return tf.is_symbolic_tensor(output.penalty) and depends_on([output.penalty], inputs)


def check_penalty(sums: LossSums, output: ModelOutput, batch: Batch) -> None:
    """Raise `ValueError` if a penalty depends on the inputs and parts may be weighted unequally."""
    x, _, *weight = batch
    weighted = bool(weight) if output.part is None else output.part.weighted
    if (weighted or isinstance(sums.losses, Masked)) and is_of_batch(output, x):
        raise ValueError(
            "the model adds a penalty that it computes from its batch, and the parts of the "
            "replicas have different weights: train with strategy='one_device', or without sample "
            "weights and masks"
        )
