"""Gradient accumulation: one update with the gradients of several micro-batches.

    G = sum of omega_i g_i,  Omega = sum of omega_i          over the micro-batches of a window
    g = G / Omega                                            the gradient that the optimizer gets

g_i: gradient of the mean loss of micro-batch i; omega_i: its weight, the number of its examples or
the sum of their weights. g is the gradient of the mean loss over the examples of the window,
however they are divided into micro-batches, and a penalty in the loss counts once.
"""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from trainlib.core.checks import check_integer
from trainlib.core.tree import leafwise, zeros_like
from trainlib.core.types import (
    EXTRA_ARGS,
    Optimizer,
    State,
    Tensor,
    Tree,
    check_optimizer,
    update_with,
)
from trainlib.transforms.states import find_states, has_state, select, updates_if


class AccumulateState(NamedTuple):
    """State of `accumulate`.

    Attributes:
        step: updates made, int64 [].
        micro_step: micro-batches in the open window, int64 [].
        grad_sum: G, like the parameters, float32 or wider.
        weight_sum: Omega, float64 [].
        inner: the state of the optimizer.
    """

    step: Tensor
    micro_step: Tensor
    grad_sum: Tree
    weight_sum: Tensor
    inner: State


def accumulate_leaf(
    g: Tensor, total: Tensor, *, weight: Tensor, weight_sum: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the mean G / Omega, and the sum G."""
    total = total + weight * g
    return tf.math.divide_no_nan(total, weight_sum), total


def accumulate(optimizer: Optimizer, every_k: int) -> Optimizer:
    """Update once in `every_k` calls, with the weighted mean of their gradients.

        g = sum of omega_i g_i / sum of omega_i

    Its update takes extra arguments, which `train_step` passes: `update(grads, state, params,
    weight=1.0, last=False, is_finite=True)`. `grads` are the gradients of the mean loss of a
    micro-batch, with penalties; `weight` is its omega. `last=True` closes the window, however few
    micro-batches it has, such as at the end of an epoch. A micro-batch with `is_finite=False` is
    left out. A window of weight 0 makes no update.

    The mean is the gradient of the loss over the whole window. It is approximate for a
    `LossByOutput` whose outputs have masks or different sample weights, because its micro-batches
    have one omega for all outputs.

    Between updates the parameters keep their bits, and the state of the optimizer does not change:
    its step, schedules, weight decay and averages advance with updates. What is to advance with
    updates belongs inside: `accumulate(chain(clip_by_global_norm(1.0), adamw(schedule), ema()),
    every_k=4)`.

    Args:
        optimizer: the optimizer that makes the updates. It is computed at every call, and its
            result is used at the last call of a window.
        every_k: micro-batches in a window, an integer of at least 1.

    Returns:
        An `Optimizer` whose state is an `AccumulateState`.

    Raises:
        ValueError: `every_k` is below 1.
        TypeError: `every_k` is not an integer, or `optimizer` is not an `Optimizer`.

    Example:
        >>> tx = tl.accumulate(tl.sgd(0.5), every_k=2)
        >>> w = tf.constant(1.0)
        >>> state = tx.init(w)
        >>> for g, weight in ((1.0, 3.0), (5.0, 1.0)):
        ...     updates, state = tx.update(tf.constant(g), state, w, weight=weight)
        ...     print(float(tl.apply_updates(w, updates)))
        1.0
        0.0

    Differences:
        Keras: all micro-batches weigh the same, the window that is open at the end of training is
            dropped, and the schedule, the moving average and the constraints advance at every
            micro-batch.
        Optax: `MultiSteps` weighs all micro-batches the same.
    """
    check_optimizer("optimizer of accumulate", optimizer)
    check_integer("every_k", every_k, at_least=1)

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
            zeros = tf.nest.map_structure(_zeros_like, (grads, weight))
            grads, weight = select(is_finite, (grads, weight), zeros)
        weight_sum = state.weight_sum + weight
        micro_step = state.micro_step + tf.cast(is_finite, tf.int64)
        mean, grad_sum = leafwise(
            accumulate_leaf, grads, state.grad_sum, weight=weight, weight_sum=weight_sum
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


def accumulates(state: State) -> bool:
    """Return whether a state contains that of `accumulate`."""
    return has_state(state, AccumulateState)


def update_made(old: State, new: State) -> Tensor | None:
    """Return whether an update was made between two states of an optimizer, bool [].

    None for an optimizer without `accumulate`, which makes one at each call.
    """
    pairs = zip(find_states(old, AccumulateState), find_states(new, AccumulateState), strict=True)
    made = [after.step > before.step for before, after in pairs]
    return tf.reduce_any(tf.stack(made)) if made else None


def flush(optimizer: Optimizer, state: State, params: Tree) -> tuple[Tree, State]:
    """Make the update of a window that is open, if one is.

    It is an update with gradients of 0, `weight=0.0` and `last=True`, for a loop that knows only
    afterwards which micro-batch was the last. Other members of a chain with `accumulate` see these
    zeros, and a parameter that never has a gradient is updated as if its gradient were 0.

    Args:
        optimizer: an optimizer made by `accumulate`, or one that contains it.
        state: the state of the optimizer.
        params: the parameters.

    Returns:
        `(updates, state)`, as of `optimizer.update`.

    Raises:
        ValueError: the state contains no `AccumulateState`.

    Example:
        >>> tx = tl.accumulate(tl.sgd(0.5), every_k=4)
        >>> w = tf.constant(1.0)
        >>> _, state = tx.update(tf.constant(2.0), tx.init(w), w)
        >>> updates, state = tl.flush(tx, state, w)
        >>> float(tl.apply_updates(w, updates))
        0.0
    """
    if not accumulates(state):
        raise ValueError(
            "flush needs the state of an optimizer with tl.accumulate(...); this one has none"
        )
    return update_with(optimizer, zeros_like(params), state, params, weight=0.0, last=True)


def _zeros_like(x: Tensor) -> Tensor:
    """Return zeros in the dtype of x; None stays None."""
    return None if x is None else tf.zeros_like(x)
