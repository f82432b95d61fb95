"""TrainState and the pure steps over it: the one place where the order of a step is decided."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

import tensorflow as tf

from trainlib.base import Optimizer, State, Tensor, Tree, apply_updates
from trainlib.losses import Loss, weighted_sum
from trainlib.metrics import ExampleMetric, Mean, Metric, as_metric
from trainlib.regularizers import Regularizer
from trainlib.transforms.chain import update_with


class TrainState(NamedTuple):
    """All that a run is.

    step: updates made, int64 []. params: the trained tensors. model_state: what else the model
    keeps, such as batch statistics and dropout seeds. opt_state: the optimizer's. loss_scale:
    `()` where losses are not scaled. seed: int64 [], from which the order of examples follows.
    """

    step: Tensor
    params: Tree
    model_state: Tree
    opt_state: State
    loss_scale: State
    seed: Tensor


class Forward(NamedTuple):
    """What a model returns: predictions, its new state, and a penalty to add to the loss."""

    y_pred: Tensor
    model_state: Tree = ()
    penalty: Tensor = 0.0


ApplyFn: TypeAlias = Callable[..., Forward]
"""A model as a pure function: `(params, model_state, x, training) -> Forward`."""
Records: TypeAlias = dict[str, Any]
"""The records of the loss, a `Mean`, and of the metrics by name; see `trainlib.metrics`."""
Batch: TypeAlias = tuple[Any, ...]
"""`(x, y)` or `(x, y, sample_weight)`."""


def init_state(params: Tree, model_state: Tree, optimizer: Optimizer, seed: int = 0) -> TrainState:
    """The state before the first step."""
    return TrainState(
        step=tf.zeros([], tf.int64),
        params=params,
        model_state=model_state,
        opt_state=optimizer.init(params),
        loss_scale=(),
        seed=tf.constant(seed, tf.int64),
    )


def train_step(
    apply_fn: ApplyFn,
    loss_fn: Loss,
    optimizer: Optimizer,
    *,
    metrics: Mapping[str, Metric | ExampleMetric] | None = None,
    regularizer: Regularizer | None = None,
    compile_update: bool = False,
) -> Callable[..., tuple[TrainState, Records]]:
    """The pure step `(state, batch, last=False) -> (state, records)`.

    With an optimizer made by `accumulate` a batch is a micro-batch of its window and weighs there
    what its examples weigh; `last` closes the window, at the end of an epoch, say. To any other
    optimizer `last` says nothing.

    The loss is sum(w l) / sum(w) + penalties, with the weights w of the batch, or 1; the metrics
    are those of the model before the update, in training mode.

    Args:
        apply_fn: `(params, model_state, x, training) -> Forward`.
        loss_fn: `(y_true, y_pred) -> loss of each example`.
        optimizer: makes updates of gradients.
        metrics: by name, each a `Metric` or `(y_true, y_pred) -> value of each example`, of
            which the record is a `Mean`; "loss" comes by itself.
        regularizer: `params -> penalty`.
        compile_update: whether XLA compiles the update, for a step that it does not compile whole.
    """

    def advance(
        grads: Tree, params: Tree, opt_state: State, weight: Tensor, last: Tensor
    ) -> tuple[Tree, State]:
        updates, new = update_with(optimizer, grads, opt_state, params, weight=weight, last=last)
        return apply_updates(params, updates), new

    if compile_update:
        advance = tf.function(advance, jit_compile=True, autograph=False)

    def step(state: TrainState, batch: Batch, last: Tensor = False) -> tuple[TrainState, Records]:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(state.params)
            forward = apply_fn(state.params, state.model_state, batch[0], training=True)
            objective, record = _objective(forward, batch, loss_fn, regularizer, state.params)
        grads = tape.gradient(objective, state.params)
        params, opt_state = advance(grads, state.params, state.opt_state, record.count, last)
        new_state = state._replace(
            step=state.step + 1,
            params=params,
            model_state=forward.model_state,
            opt_state=opt_state,
        )
        return new_state, _records(forward, batch, record, metrics)

    return step


def eval_step(
    apply_fn: ApplyFn,
    loss_fn: Loss,
    *,
    metrics: Mapping[str, Metric | ExampleMetric] | None = None,
    regularizer: Regularizer | None = None,
) -> Callable[[TrainState, Batch], Records]:
    """The pure step `(state, batch) -> records`, the model in inference mode.

    The arguments are those of `train_step`; the loss holds the penalties here too.
    """

    def step(state: TrainState, batch: Batch) -> Records:
        forward = apply_fn(state.params, state.model_state, batch[0], training=False)
        _, record = _objective(forward, batch, loss_fn, regularizer, state.params)
        return _records(forward, batch, record, metrics)

    return step


def predict_step(apply_fn: ApplyFn) -> Callable[[TrainState, Tensor], Tensor]:
    """The pure step `(state, x) -> y_pred`, the model in inference mode."""

    def step(state: TrainState, x: Tensor) -> Tensor:
        return apply_fn(state.params, state.model_state, x, training=False).y_pred

    return step


def _objective(
    forward: Forward,
    batch: Batch,
    loss_fn: Loss,
    regularizer: Regularizer | None,
    params: Tree,
) -> tuple[Tensor, Mean]:
    """The scalar to minimize, and the record of it for the metrics."""
    _, y, *weight = batch
    total, count = weighted_sum(loss_fn(y, forward.y_pred), *weight)
    penalty = tf.cast(forward.penalty, total.dtype)
    if regularizer is not None:
        penalty += tf.cast(regularizer(params), total.dtype)
    objective = tf.math.divide_no_nan(total, count) + penalty
    record = Mean(tf.cast(total + penalty * count, tf.float64), tf.cast(count, tf.float64))
    return objective, record


def _records(
    forward: Forward,
    batch: Batch,
    loss: Mean,
    metrics: Mapping[str, Metric | ExampleMetric] | None,
) -> Records:
    """The loss and the metrics of a batch, by name."""
    _, y, *weight = batch
    records: Records = {"loss": loss}
    for name, metric in (metrics or {}).items():
        records[name] = as_metric(metric).of(y, forward.y_pred, *weight)
    return records
