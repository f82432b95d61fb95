"""The steps without an update: evaluation and prediction."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import TypeAlias

from trainlib.core.types import Tensor
from trainlib.metrics import merge
from trainlib.step.objective import BatchLoss, LossSums, metric_states
from trainlib.step.outputs import batch_losses, batch_sums, whole_loss_states
from trainlib.step.state import (
    AllReduce,
    ApplyFn,
    Batch,
    MetricStates,
    ModelOutput,
    StepConfig,
    TrainState,
)

PartResult: TypeAlias = tuple[MetricStates, dict[str, BatchLoss]]
"""Metric states and sums of losses of a part of a batch, as `part_eval_step` returns them."""


def eval_step(config: StepConfig) -> Callable[[TrainState, Batch], MetricStates]:
    """Return the pure step `(state, batch) -> metric states`, the model in inference mode.

    The loss includes the penalties, as in training. The parameters are those of the state: to
    evaluate an average, pass `state._replace(params=params, model_state=model_state)` with the
    result of `averaged_weights(state)`.

    Args:
        config: model, loss, metrics and regularizer; other fields are ignored.

    Returns:
        The step, which can be called eagerly or in a `tf.function`.

    Example:
        >>> config = tl.StepConfig(
        ...     lambda w, state, x, training: tl.ModelOutput(x * w), tl.losses.mean_squared_error)
        >>> state = tl.init_state(tf.constant([2.0]), (), None)
        >>> metrics = tl.eval_step(config)(state, (tf.ones([4, 1]), tf.zeros([4, 1])))
        >>> float(metrics["loss"].compute())
        4.0
    """

    stateful_step = stateful_eval_step(config)

    def step(state: TrainState, batch: Batch) -> MetricStates:
        return stateful_step(state, batch)[1]

    return step


def stateful_eval_step(
    config: StepConfig,
) -> Callable[[TrainState, Batch], tuple[TrainState, MetricStates]]:
    """Return the step `(state, batch) -> (state, metric states)`, the model in inference mode.

    Unlike `eval_step`, it returns the state that the model changes in inference mode, such as that
    of a stateful recurrent layer, for the next batch.

    Args:
        config: model, loss, metrics and regularizer; other fields are ignored.
    """

    def step(state: TrainState, batch: Batch) -> tuple[TrainState, MetricStates]:
        state, metrics, _ = _evaluated(config, state, batch)
        return state, metrics

    return step


def part_eval_step(
    config: StepConfig,
) -> Callable[[TrainState, Batch], tuple[TrainState, PartResult]]:
    """Return the step `(state, part) -> (state, (metric states, sums))` on a part of a batch.

    `whole_batch_states` combines the results of the parts. The sums are a `BatchLoss` for each loss
    that is averaged over batches, by name of its metric state: the mean of such a loss needs the
    sums of all parts.

    Args:
        config: model, loss, metrics and regularizer; other fields are ignored.
    """

    def step(state: TrainState, batch: Batch) -> tuple[TrainState, PartResult]:
        state, metrics, sums = _evaluated(config, state, batch, is_part=True)
        return state, (metrics, batch_losses(sums, batch[0]))

    return step


def whole_batch_states(parts: Sequence[PartResult], all_reduce: AllReduce) -> MetricStates:
    """Return this replica's metric states of a batch, given its results for parts of the batch.

    Args:
        parts: results of `part_eval_step`, at least one.
        all_reduce: sums a structure of tensors over all replicas.
    """
    states, sums = functools.reduce(merge, parts)
    return whole_loss_states(states, sums, all_reduce(sums)) if sums else states


def stateful_predict_step(
    apply_fn: ApplyFn,
) -> Callable[[TrainState, Tensor], tuple[TrainState, Tensor]]:
    """Return the step `(state, x) -> (state, y_pred)`, the model in inference mode."""

    def step(state: TrainState, x: Tensor) -> tuple[TrainState, Tensor]:
        output = apply_fn(state.params, state.model_state, x, training=False)
        return _after(state, output), output.y_pred

    return step


def _evaluated(
    config: StepConfig, state: TrainState, batch: Batch, *, is_part: bool = False
) -> tuple[TrainState, MetricStates, LossSums]:
    """Return the state after a batch in inference mode, the metric states and the loss's sums."""
    output = config.apply_fn(state.params, state.model_state, batch[0], training=False)
    sums = batch_sums(config, state.params, output, batch, is_part=is_part)
    return _after(state, output), metric_states(config, output, batch, sums, is_part=is_part), sums


def _after(state: TrainState, output: ModelOutput) -> TrainState:
    """Return the state with the model state, and the parameters, that the model returned."""
    params = state.params if output.params is None else output.params
    return state._replace(params=params, model_state=output.model_state)


def predict_step(apply_fn: ApplyFn) -> Callable[[TrainState, Tensor], Tensor]:
    """Return the pure step `(state, x) -> y_pred`, the model in inference mode.

    The parameters are those of the state; see `eval_step` for those of an average.

    Args:
        apply_fn: the model, `(params, model_state, x, training) -> ModelOutput`.

    Returns:
        The step.

    Example:
        >>> step = tl.predict_step(lambda w, state, x, training: tl.ModelOutput(x * w))
        >>> state = tl.init_state(tf.constant([2.0]), (), None)
        >>> step(state, tf.constant([[3.0]])).numpy().tolist()
        [[6.0]]
    """

    stateful_step = stateful_predict_step(apply_fn)

    def step(state: TrainState, x: Tensor) -> Tensor:
        return stateful_step(state, x)[1]

    return step
