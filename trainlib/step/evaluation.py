"""The steps without an update: evaluation and prediction."""

from __future__ import annotations

from collections.abc import Callable

from trainlib.core.types import Tensor
from trainlib.step.objective import (
    batch_loss_state,
    loss_sums,
    metric_states,
    objective_of_part,
)
from trainlib.step.state import (
    AllReduce,
    ApplyFn,
    Batch,
    MetricStates,
    ModelOutput,
    StepConfig,
    TrainState,
)


def eval_step(config: StepConfig) -> Callable[[TrainState, Batch], MetricStates]:
    """Return the pure step `(state, batch) -> metric states`, the model in inference mode.

    The loss includes the penalties, as in training.

    Args:
        config: the model, the loss, the metrics and the regularizer; the rest is ignored.

    Returns:
        The step.

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
    config: StepConfig, all_reduce: AllReduce | None = None
) -> Callable[[TrainState, Batch], tuple[TrainState, MetricStates]]:
    """Return the step `(state, batch) -> (state, metric states)`, the model in inference mode.

    It is `eval_step` for a model that changes its state in inference mode too, such as a recurrent
    layer that continues where the batch before ended.

    Args:
        config: as for `eval_step`.
        all_reduce: on one of several replicas, a function that sums a structure of tensors over
            all of them: the batch is then this replica's part. Default: None.
    """

    def step(state: TrainState, batch: Batch) -> tuple[TrainState, MetricStates]:
        output = config.apply_fn(state.params, state.model_state, batch[0], training=False)
        sums = loss_sums(config, state.params, output, batch, is_part=all_reduce is not None)
        metrics = metric_states(config, output, batch, sums)
        if all_reduce is not None and sums.batch_weight is not None:
            total, divisor = all_reduce(objective_of_part(sums))
            metrics["loss"] = batch_loss_state(total / divisor, sums.batch_weight)
        return _after(state, output), metrics

    return step


def stateful_predict_step(
    apply_fn: ApplyFn,
) -> Callable[[TrainState, Tensor], tuple[TrainState, Tensor]]:
    """Return the step `(state, x) -> (state, y_pred)`, the model in inference mode."""

    def step(state: TrainState, x: Tensor) -> tuple[TrainState, Tensor]:
        output = apply_fn(state.params, state.model_state, x, training=False)
        return _after(state, output), output.y_pred

    return step


def _after(state: TrainState, output: ModelOutput) -> TrainState:
    """Return the state with what the model changed."""
    params = state.params if output.params is None else output.params
    return state._replace(params=params, model_state=output.model_state)


def predict_step(apply_fn: ApplyFn) -> Callable[[TrainState, Tensor], Tensor]:
    """Return the pure step `(state, x) -> y_pred`, the model in inference mode.

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
