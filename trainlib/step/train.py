"""The training step: gradients, their sum over replicas, and the update, in this order."""

from __future__ import annotations

import functools
from collections.abc import Callable

import tensorflow as tf

from trainlib.core.types import Tensor
from trainlib.step.gradients import Gradients, compute_gradients, reduce_gradients
from trainlib.step.state import (
    AllReduce,
    Batch,
    MetricStates,
    Observer,
    StepConfig,
    TrainState,
    optimizer_of,
)
from trainlib.step.update import apply_gradients_with, update_params


def train_step(
    config: StepConfig,
    *,
    all_reduce: AllReduce | None = None,
    compile_gradients: bool = False,
    compile_update: bool = False,
    observer: Observer | None = None,
) -> Callable[..., tuple[TrainState, MetricStates]]:
    """Return the pure training step `(state, batch, last=False) -> (state, metric states)`.

    The metrics are those of the model before the update, in training mode. `last` closes the
    window of an optimizer made by `accumulate`, such as at the end of an epoch; others ignore it.

    Args:
        config: the model, the loss, the optimizer and the options.
        all_reduce: function that sums a structure of tensors over all replicas; each batch is then
            this replica's part of a larger one. Default: None, one device.
        compile_gradients: whether XLA compiles the model, its loss and their gradients, for a step
            that is not compiled as a whole. Default: False.
        compile_update: whether XLA compiles the update. Default: False.
        observer: a function that is called with the name and the value of intermediate results:
            "loss", the scaled loss; "gradient", its gradients; "update", the updates. For
            debugging. Default: None.

    Returns:
        The step. It can be called eagerly or in a `tf.function`, with `jit_compile=True` too.

    Raises:
        ValueError: the config has no optimizer; from the step, a state made without the loss scale,
            the finite guard or the average of the config.

    Example:
        >>> config = tl.StepConfig(
        ...     lambda w, state, x, training: tl.ModelOutput(x * w),
        ...     tl.losses.mean_squared_error, tl.sgd(0.25))
        >>> state = tl.init_state(tf.constant([1.0]), (), config.optimizer)
        >>> step = tf.function(tl.train_step(config))
        >>> for _ in range(2):
        ...     state, metrics = step(state, (tf.ones([4, 1]), tf.zeros([4, 1])))
        >>> float(state.params[0]), float(metrics["loss"].compute())
        (0.25, 0.25)
    """
    optimizer_of(config)

    def compute(state: TrainState, batch: Batch) -> Gradients:
        return compute_gradients(config, state, batch, all_reduce=all_reduce, observer=observer)

    def update(
        state: TrainState, gradients: Gradients, last: Tensor
    ) -> tuple[TrainState, MetricStates]:
        return update_params(config, state, gradients, last, observer=observer)

    xla = functools.partial(tf.function, jit_compile=True, autograph=False)
    compute = xla(compute) if compile_gradients else compute
    update = xla(update) if compile_update else update

    def step(
        state: TrainState, batch: Batch, last: Tensor = False
    ) -> tuple[TrainState, MetricStates]:
        gradients = compute(state._replace(opt_state=(), average=()), batch)
        if all_reduce is not None:
            gradients = reduce_gradients(gradients, all_reduce)
        return apply_gradients_with(update, config, state, gradients, last)

    return step
