"""The steps without an update: evaluation and prediction."""

from __future__ import annotations

from collections.abc import Callable

from trainlib.core.types import Tensor
from trainlib.step.objective import loss_sums, metric_states
from trainlib.step.state import ApplyFn, Batch, MetricStates, StepConfig, TrainState


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

    def step(state: TrainState, batch: Batch) -> MetricStates:
        output = config.apply_fn(state.params, state.model_state, batch[0], training=False)
        sums = loss_sums(config, state.params, output, batch)
        return metric_states(config, output, batch, sums)

    return step


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

    def step(state: TrainState, x: Tensor) -> Tensor:
        return apply_fn(state.params, state.model_state, x, training=False).y_pred

    return step
