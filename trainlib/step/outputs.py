"""The loss of a model of several outputs: `LossByOutput` over a batch, and its states.

The loss of each output is that of a model with this output alone (`objective.py`); here the losses
are weighted and added. A single loss for the whole model is returned unchanged.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import tensorflow as tf

from trainlib.core.types import Tensor, Tree
from trainlib.losses import LossByOutput
from trainlib.metrics import Mean
from trainlib.step.objective import (
    BatchLoss,
    LossSums,
    batch_loss,
    batch_loss_state,
    check_penalty,
    is_of_batch,
    loss_state,
    loss_sums,
    penalty_of,
    weight_of_batch,
    whole_batch_loss,
)
from trainlib.step.output_parts import batch_of, outputs_by_name
from trainlib.step.state import AllReduce, Batch, MetricStates, ModelOutput, StepConfig

TERM = "loss/"
"""Prefix of the names of a `TotalLoss`'s terms; names without it are those of results."""
PENALTY = "penalty/"
"""Name of a `TotalLoss`'s penalty, if it is computed from the inputs of a part."""


class TotalLoss(NamedTuple):
    """State of the loss of a model of several outputs: a sum of means.

    Attributes:
        terms: mean of each output's loss times the weight of the output, by name of the output.
        penalty: mean of the penalties of the batches.
    """

    terms: dict[str, Mean]
    penalty: Mean

    @property
    def count(self) -> Tensor:
        """Sum of the weights of the batches, float64 []."""
        return self.penalty.count

    def compute(self) -> Tensor:
        """Return the sum of the means; 0 if nothing counts."""
        return tf.add_n([mean.compute() for mean in (*self.terms.values(), self.penalty)])


def batch_sums(
    config: StepConfig,
    params: Tree,
    output: ModelOutput,
    batch: Batch,
    *,
    is_part: bool = False,
    all_reduce: AllReduce | None = None,
) -> LossSums:
    """Return the sums of a batch's loss, whose mean is the loss that a step differentiates.

    Args:
        config: the loss, for one output or a `LossByOutput`, and the regularizer.
        params: the parameters.
        output: result of the model on the batch.
        batch: `(x, y)` or `(x, y, sample_weight)`.
        is_part: whether the batch is a replica's part of a larger batch. Default: False.
        all_reduce: function that sums a structure over the replicas; needed to differentiate a
            part, because the losses of the outputs are divided before they are added. Default:
            None.

    Raises:
        ValueError: as `loss_sums`; or the outputs are not those of the losses.
    """
    if not isinstance(config.loss_fn, LossByOutput):
        return loss_sums(config.loss_fn, config.regularizer, params, output, batch, is_part=is_part)
    x, losses = batch[0], config.loss_fn
    outputs, parts, weights = outputs_by_name(losses, output), {}, []
    for name, loss in losses.trained.items():
        of_output = batch_of(name, batch)
        alone = outputs[name]._replace(penalty=0.0)
        try:
            parts[name] = loss_sums(loss, None, params, alone, of_output, is_part=is_part)
            if all_reduce is not None:
                check_penalty(parts[name], output, of_output)
        except (ValueError, TypeError) as error:
            raise type(error)(f"output {name}: {error}") from error
        weighted = () if hasattr(loss, "reduction") else of_output[2:]
        weights.append(weight_of_batch(x, output.part, *weighted))
    dtype = max((sums.total.dtype for sums in parts.values()), key=lambda dtype: dtype.size)
    penalty = penalty_of(config.regularizer, params, output, dtype)
    weight = tf.add_n(weights) / len(weights)
    sums, by_output = _total(losses, parts, weight, penalty, all_reduce), _by_batches(losses, parts)
    if is_part and is_of_batch(output, x):
        zero = tf.zeros([], dtype)
        by_output[PENALTY] = LossSums(sums.losses, zero, zero, penalty, weight)
    return sums._replace(by_output=by_output)


def _total(
    losses: LossByOutput,
    parts: dict[str, LossSums],
    weight: Tensor,
    penalty: Tensor,
    all_reduce: AllReduce | None,
) -> LossSums:
    """Return the sums of the weighted losses of the outputs: total / count is their sum.

    Args:
        losses: the losses of the outputs, with their weights.
        parts: the sums of each output's loss, by name of the output.
        weight: number of examples of the batch, or the sum of their weights, float64 [].
        penalty: penalty of the batch, a floating scalar.
        all_reduce: function that sums a structure over the replicas; None on one device.
    """
    whole = {name: (sums.total, sums.count) for name, sums in parts.items()}, weight
    if all_reduce is not None:
        whole = all_reduce(tf.nest.map_structure(tf.stop_gradient, whole))
    of_batch, whole_weight = whole
    dtype = penalty.dtype
    total = tf.zeros([], dtype)
    for name, sums in parts.items():
        mean = tf.math.divide_no_nan(sums.total, of_batch[name][1])
        total += losses.weight(name) * tf.cast(mean, dtype)
    means = {name: _mean(sums, of_batch[name]) for name, sums in parts.items()}
    return LossSums(
        _ones_of_rows(next(iter(parts.values())).losses, dtype),
        total * tf.cast(whole_weight, dtype),
        tf.cast(weight, dtype),
        penalty,
        states=loss_states(losses, means, Mean(tf.cast(penalty, tf.float64) * weight, weight)),
    )


def _by_batches(losses: LossByOutput, parts: Mapping[str, LossSums]) -> dict[str, LossSums]:
    """Return the sums of the losses that are averaged over batches, by name of their state."""
    found: dict[str, LossSums] = {}
    for name, sums in parts.items():
        if sums.batch_weight is not None:
            found[TERM + name] = sums._replace(total=losses.weight(name) * sums.total)
            if name in losses.result_names:
                found[losses.result_names[name]] = sums
    return found


def batch_losses(sums: LossSums, x: Tree) -> dict[str, BatchLoss]:
    """Return the sums of the losses that are averaged over batches, by name of their state.

    Args:
        sums: result of `batch_sums` on a part of a batch.
        x: the inputs of the part.
    """
    if sums.by_output is None:
        return {} if sums.batch_weight is None else {"loss": batch_loss(sums, x)}
    return {state: batch_loss(of_state, x) for state, of_state in sums.by_output.items()}


def whole_loss_states(
    states: MetricStates, sums: Mapping[str, BatchLoss], whole: Mapping[str, BatchLoss]
) -> MetricStates:
    """Replace the states of the losses of a batch's parts by those of the whole batch.

    Args:
        states: metric states of this replica, merged over its parts of the batch.
        sums: results of `batch_losses`, added over the parts of this replica.
        whole: results of `batch_losses`, added over the parts of all replicas.
    """
    new: MetricStates = {
        state: batch_loss_state(whole_batch_loss(whole[state]), of_replica.batch_weight)
        for state, of_replica in sums.items()
    }
    terms = {state.removeprefix(TERM): new.pop(state) for state in sums if state.startswith(TERM)}
    if terms or PENALTY in sums:
        total: TotalLoss = states["loss"]
        penalty = new.pop(PENALTY, total.penalty)
        new["loss"] = TotalLoss(total.terms | terms, penalty)
    return states | new


def _mean(sums: LossSums, whole: tuple[Tensor, Tensor]) -> Mean:
    """Return the state of an output's loss, given the sums over the whole batch.

    A loss that is averaged over batches is divided by the sum over the whole batch.
    """
    if sums.batch_weight is not None:
        sums = sums._replace(total=whole[0], count=whole[1])
    return loss_state(sums)


def _ones_of_rows(losses: Tensor, dtype: Any) -> Tensor:
    """Return a one for each row of losses."""
    rows = tf.convert_to_tensor(losses)
    known = rows.shape[:1]
    return tf.ones(known if known.is_fully_defined() else tf.shape(rows)[:1], dtype)


def loss_states(losses: LossByOutput, means: Mapping[str, Mean], penalty: Mean) -> MetricStates:
    """Return the states of the loss and of each output's loss, by the names of the results.

    Args:
        losses: the losses of the outputs, with their weights and the names of their results.
        means: the state of each output's loss, by name of the output.
        penalty: the state of the penalty.
    """
    terms = {
        name: mean._replace(total=losses.weight(name) * mean.total) for name, mean in means.items()
    }
    named = {result: means[name] for name, result in losses.result_names.items()}
    return {"loss": TotalLoss(terms, penalty), **named}


def empty_loss_states(config: StepConfig) -> MetricStates:
    """Return the states of the loss, and of the losses of the outputs, over no examples."""
    if not isinstance(config.loss_fn, LossByOutput):
        return {"loss": Mean.empty()}
    means = {name: Mean.empty() for name in config.loss_fn.trained}
    return loss_states(config.loss_fn, means, Mean.empty())
