"""Gradient accumulation: one update for the gradients of several micro-batches.

    G = sum of omega_i g_i,  Omega = sum of omega_i          over the micro-batches of a window
    the optimizer is given g = G / Omega

g_i: gradient of the mean loss of micro-batch i; omega_i: what it weighs, its number of examples
or the sum of their weights. That is the gradient of the mean loss over the window's examples,
however they are cut into micro-batches, and a penalty in the loss counts once.
"""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from trainlib.core.tree import leafwise, zeros_like
from trainlib.core.types import EXTRA_ARGS, Optimizer, State, Tensor, Tree, update_with
from trainlib.transforms.checks import check_count, check_optimizer
from trainlib.transforms.states import find_states, select, updates_if


class AccumulateState(NamedTuple):
    """step: updates made, int64 []. micro_step: micro-batches in the open window, int64 [].

    grad_sum: G, like the parameters. weight_sum: Omega, float64 []. inner: the optimizer's.
    """

    step: Tensor
    micro_step: Tensor
    grad_sum: Tree
    weight_sum: Tensor
    inner: State


def accumulate_rule(
    g: Tensor, total: Tensor, *, weight: Tensor, weight_sum: Tensor
) -> tuple[Tensor, Tensor]:
    """G = G + omega g; the mean is G / Omega."""
    total = total + weight * g
    return tf.math.divide_no_nan(total, weight_sum), total


def accumulate(optimizer: Optimizer, every_k: int) -> Optimizer:
    """The optimizer, updating once in every_k calls with the weighted mean of their gradients.

        g = sum of omega_i g_i / sum of omega_i

    Its update takes two more arguments: `update(grads, state, params, weight=1.0, last=False)`,
    with grads the gradients of the micro-batch's mean loss, penalties included, and weight its
    omega. `train_step` hands them over. A call with last=True closes the window, however few
    micro-batches it holds: the last one of an epoch, say. A window of weight 0 makes no update.

    Between updates the updates change no bit of the parameters, and the optimizer's state stays:
    its step count, schedules, weight decay and averages advance with updates only. Whatever is to
    do so belongs inside:

        accumulate(chain(clip_by_global_norm(1.0), adamw(schedule), ema()), every_k=4)

    Args:
        optimizer: what makes the updates. It runs at every call, its result chosen at the last.
        every_k: micro-batches in a window, at least 1.

    Raises:
        ValueError, TypeError: an every_k that is not a whole number of at least 1.

    Differs from: Keras, which weighs all micro-batches alike, drops the window that an epoch's end
    leaves open, and advances the schedule, the moving average and the constraints at every
    micro-batch; Optax's `MultiSteps`, which weighs them alike too.
    """
    check_optimizer(optimizer, "accumulate")
    check_count("every_k", every_k)

    def init(params: Tree) -> AccumulateState:
        zero = tf.zeros([], tf.int64)
        return AccumulateState(
            zero, zero, zeros_like(params), tf.zeros([], tf.float64), optimizer.init(params)
        )

    def update(
        grads: Tree,
        state: State,
        params: Tree,
        weight: Tensor = 1.0,
        last: Tensor = False,
        is_finite: Tensor = True,
    ) -> tuple[Tree, AccumulateState]:
        weight = tf.cast(weight, tf.float64)
        if is_finite is not True:
            zeros = tf.nest.map_structure(_zeros, (grads, weight))
            grads, weight = select(is_finite, (grads, weight), zeros)
        weight_sum = state.weight_sum + weight
        micro_step = state.micro_step + tf.cast(is_finite, tf.int64)
        mean, grad_sum = leafwise(
            accumulate_rule, grads, state.grad_sum, weight=weight, weight_sum=weight_sum
        )
        updates, inner = optimizer.update(mean, state.inner, params)
        closed = (micro_step >= every_k) | last
        due = closed & (weight_sum != 0)
        sums = micro_step, grad_sum, weight_sum
        empty = tf.nest.map_structure(tf.zeros_like, sums)
        micro_step, grad_sum, weight_sum = select(closed, empty, sums)
        return updates_if(due, updates), AccumulateState(
            state.step + tf.cast(due, tf.int64),
            micro_step,
            grad_sum,
            weight_sum,
            select(due, inner, state.inner),
        )

    return Optimizer(init, update, EXTRA_ARGS)


def flush(optimizer: Optimizer, state: State, params: Tree) -> tuple[Tree, State]:
    """Applies the window that is open, if one is: `(updates, state)` as of an update.

    It is a call with gradients of 0, weight 0 and last=True, for a loop that learns only
    afterwards that a micro-batch was the last; what stands beside `accumulate` in a chain sees
    those zeros, and a parameter that never has a gradient counts as one whose gradient is 0.

    Raises:
        ValueError: a state in which nothing accumulates.
    """
    if not any(find_states(state, AccumulateState)):
        raise ValueError("flush needs the state of an optimizer made by accumulate")
    return update_with(optimizer, zeros_like(params), state, params, weight=0.0, last=True)


def _zeros(x: Tensor) -> Tensor:
    return None if x is None else tf.zeros_like(x)
