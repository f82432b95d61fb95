"""The gradients of a batch: `compute_gradients` on a device, `reduce_gradients` over replicas."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from trainlib.core.tree import widen
from trainlib.core.types import Tensor, Tree
from trainlib.step.loss_scale import scale_loss
from trainlib.step.objective import (
    batch_loss_state,
    metric_states,
    objective,
    objective_of_part,
)
from trainlib.step.outputs import batch_sums
from trainlib.step.state import AllReduce, Batch, MetricStates, Observer, StepConfig, TrainState


class Gradients(NamedTuple):
    """Gradients of a batch, passed between the functions of a step.

    Attributes:
        grads: the gradients, in the structure of the parameters; multiplied by the loss scale, if
            there is one.
        loss: the differentiated loss without the loss scale, a floating scalar, for the finite
            guard; `()` without a guard.
        weight: sum of the weights of the examples, a floating scalar; without weights, their
            number.
        divisor: omega of `reduce_gradients`, the weight of this replica's part of the batch, a
            floating scalar.
        model_state: the model state after the forward pass.
        metrics: the metric states of the batch, by name.
        params: the parameters after the forward pass, if the model assigned to some of them; None
            otherwise.
        batch_loss: for a loss that is averaged over batches (`LossSums.batch_weight`), the loss and
            the weight of the batch, two floating scalars; `()` for other losses.
    """

    grads: Tree
    loss: Tensor
    weight: Tensor
    divisor: Tensor
    model_state: Tree
    metrics: MetricStates
    params: Tree = None
    batch_loss: tuple[Tensor, ...] = ()


def compute_gradients(
    config: StepConfig,
    state: TrainState,
    batch: Batch,
    *,
    all_reduce: AllReduce | None = None,
    observer: Observer | None = None,
) -> Gradients:
    """Run the model forward in training mode, and differentiate the loss of a batch.

        L = sum(w l) / sum(w) + penalties

    w: the sample weights, or 1; l: the losses of the examples.

    Args:
        config: the model, the loss and the metrics.
        state: the training state; `params`, `model_state` and `loss_scale` are read.
        batch: `(x, y)` or `(x, y, sample_weight)`.
        all_reduce: function that sums a structure of tensors over all replicas; it says that the
            batch is this replica's part of a larger one. The gradients are then those of a sum,
            and `reduce_gradients` must follow. Default: None, one device.
        observer: a function that is called with "loss" and the scaled loss, then with "gradient"
            and the gradients. Default: None.

    Returns:
        The `Gradients` of the batch.

    Example:
        >>> config = tl.StepConfig(
        ...     lambda w, state, x, training: tl.ModelOutput(x * w),
        ...     tl.losses.mean_squared_error, tl.sgd(0.5))
        >>> state = tl.init_state(tf.constant([1.0]), (), config.optimizer)
        >>> gradients = tl.compute_gradients(config, state, (tf.ones([4, 1]), tf.zeros([4, 1])))
        >>> float(gradients.grads[0]), float(gradients.weight)
        (2.0, 4.0)
    """
    is_part = all_reduce is not None
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(state.params)
        output = config.apply_fn(state.params, state.model_state, batch[0], training=True)
        sums = batch_sums(
            config, state.params, output, batch, is_part=is_part, all_reduce=all_reduce
        )
        loss, divisor = objective_of_part(sums, output, batch) if is_part else objective(sums)
        scaled_loss = scale_loss(loss, state.loss_scale)
    if observer is not None:
        observer("loss", scaled_loss)
    grads = tape.gradient(scaled_loss, state.params)
    if observer is not None:
        observer("gradient", grads)
    metrics = metric_states(config, output, batch, sums, is_part=is_part)
    by_batch = sums.batch_weight is not None
    return Gradients(
        grads=grads,
        loss=loss if config.finite_guard else (),
        weight=tf.cast(sums.count, tf.float64) if by_batch else metrics["loss"].count,
        divisor=divisor,
        model_state=output.model_state,
        metrics=metrics,
        params=output.params,
        batch_loss=(loss, sums.batch_weight) if by_batch else (),
    )


def reduce_gradients(gradients: Gradients, all_reduce: AllReduce) -> Gradients:
    """Return the gradients over the whole batch, given those of each replica's part of it.

        g = sum_r grad(sum of w l + omega_r penalty) / sum_r omega_r

    with omega_r the sum of the weights of replica r. That is the gradient of the mean loss over the
    whole batch, however unequal its parts, with a penalty counted once. All replicas then make the
    same update.

    Args:
        gradients: result of `compute_gradients(..., all_reduce=...)` on this replica. The losses of
            all parts must have the same shape: pad a shorter part with rows of weight 0.
        all_reduce: sums a structure of tensors over all replicas; leaves of None stay None.

    Returns:
        The gradients with `grads`, `loss` and `weight` those of the whole batch. `model_state`
        and `metrics` remain those of the replica, except that a loss under a mask is the mean over
        the whole batch. The loss is a sum, to be tested for infinities and NaNs only.

    Example:
        >>> config = tl.StepConfig(
        ...     lambda w, state, x, training: tl.ModelOutput(x * w),
        ...     tl.losses.mean_squared_error, tl.sgd(0.5))
        >>> state = tl.init_state(tf.constant([1.0]), (), config.optimizer)
        >>> part = tf.ones([2, 1]), tf.zeros([2, 1])
        >>> def on_two_equal_replicas(tree):
        ...     return tf.nest.map_structure(lambda x: 2 * x, tree)
        >>> gradients = tl.compute_gradients(
        ...     config, state, part, all_reduce=on_two_equal_replicas)
        >>> whole = tl.reduce_gradients(gradients, on_two_equal_replicas)
        >>> float(whole.grads[0]), float(whole.weight)
        (2.0, 4.0)
    """
    divisor = gradients.divisor
    wide = [None if g is None else widen(g) for g in tf.nest.flatten(gradients.grads)]
    sums, loss, divisor, weight, batch_loss = all_reduce(
        (
            wide,
            gradients.loss,
            divisor,
            tf.cast(gradients.weight, divisor.dtype),
            gradients.batch_loss[:1],
        )
    )
    mean = [None if g is None else g / tf.cast(divisor, g.dtype) for g in sums]
    metrics = gradients.metrics
    if gradients.batch_loss:
        metrics = metrics | {
            "loss": batch_loss_state(batch_loss[0] / divisor, gradients.batch_loss[1])
        }
    return gradients._replace(
        grads=tf.nest.pack_sequence_as(gradients.grads, mean),
        loss=loss,
        weight=weight,
        metrics=metrics,
    )
