"""Stochastic weight averaging: the mean of the parameters at some of the updates.

t_k = start + k every,    a = (1/n) sum of w_(t_k) over the n = k + 1 of them so far
"""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from trainlib.core.checks import check_integer
from trainlib.core.tree import leafwise, widen
from trainlib.core.types import Optimizer, State, Tensor, Tree, apply_updates
from trainlib.transforms.ema import ema_leaf


class SwaState(NamedTuple):
    """State of `swa`.

    Attributes:
        step: updates made, int64 [].
        count: n, states averaged, int64 []; 0 before `start`.
        average: a, like the parameters, float32 or wider; before `start` the parameters.
    """

    step: Tensor
    count: Tensor
    average: Tree


def swa(start: int = 1, every: int = 1) -> Optimizer:
    """Average the parameters after some of the updates, with equal weights; updates pass through.

        a_n = a_(n-1) + (w_t - a_(n-1)) / n,   n = 1, 2, ... at t = start, start + every, ...

    Before `start` the average is that of the parameters alone. As with `ema`, put it last in a
    chain and inside `accumulate`; or give it to a `tl.Trainer`, which evaluates the average and
    estimates the statistics of batch normalization for it. `averaged_params` reads the average.

    Args:
        start: number of the first update after which the parameters enter, at least 1. Default: 1.
        every: updates from one to the next of these, at least 1. Default: 1.

    Returns:
        An `Optimizer` whose state is a `SwaState`.

    Raises:
        ValueError: an argument is out of its range.
        TypeError: an argument is of another type.

    Example:
        >>> tx = tl.chain(tl.sgd(1.0), tl.swa(start=2))
        >>> w = tf.constant(4.0)
        >>> state = tx.init(w)
        >>> for g in (1.0, 1.0, 1.0):
        ...     updates, state = tx.update(tf.constant(g), state, w)
        ...     w = tl.apply_updates(w, updates)
        >>> float(w), float(tl.averaged_params(state, w))  # the mean of 2 and 1
        (1.0, 1.5)

    Differences:
        PyTorch: `AveragedModel` averages when `update_parameters` is called, here the updates are
            counted.

    References:
        Izmailov et al. 2018, "Averaging Weights Leads to Wider Optima and Better Generalization".
    """
    check_integer("start", start, at_least=1)
    check_integer("every", every, at_least=1)

    def init(params: Tree) -> SwaState:
        zero = tf.zeros([], tf.int64)
        return SwaState(zero, zero, tf.nest.map_structure(widen, params))

    def update(grads: Tree, state: State, params: Tree) -> tuple[Tree, SwaState]:
        t = state.step + 1
        count = tf.where(t < start, tf.zeros_like(t), (t - start) // every + 1)
        share = 1 / tf.cast(tf.maximum(count, 1), tf.float64)
        is_due = (t < start) | (count > state.count)
        share = tf.where(is_due, share, tf.zeros_like(share))
        new = apply_updates(params, grads)
        _, average = leafwise(ema_leaf, new, state.average, share=share)
        return grads, SwaState(t, count, average)

    return Optimizer(init, update)
