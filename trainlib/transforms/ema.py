"""Averages of the parameters over the updates, which often evaluate better than the parameters.

    a_t = a_(t-1) + c_t (w_t - a_(t-1))

    debiased        c_t = (1 - beta) / (1 - beta^t)
    not debiased    c_1 = 1;  c_t = 1 - beta for t > 1

Debiased, a_t is the mean of w_1 ... w_t with weights beta^(t-i): a running mean that starts at 0,
divided by 1 - beta^t. Otherwise w_1 has the weight beta^(t-1), which stays large for many updates.
"""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from trainlib.core.checks import check_integer, check_number
from trainlib.core.tree import leafwise, scalar, widen
from trainlib.core.types import Optimizer, State, Tensor, Tree, apply_updates
from trainlib.transforms.states import no_change


class EmaState(NamedTuple):
    """State of `ema`.

    Attributes:
        step: updates averaged, int64 [].
        average: a, like the parameters, float32 or wider; w_0 before the first update.
    """

    step: Tensor
    average: Tree


def ema_leaf(w: Tensor, a: Tensor, *, share: Tensor) -> tuple[Tensor, Tensor]:
    """Return a = (1 - c) a + c w, as the value that may overwrite w and as the new average."""
    a = (1 - share) * a + share * w
    return a, a


def ema(
    decay: float = 0.99, debias: bool = True, overwrite_frequency: int | None = None
) -> Optimizer:
    """Average the parameters after each update; the updates pass through.

        a_t = a_(t-1) + c_t (w_t - a_(t-1)),  c_t = (1 - decay) / (1 - decay^t)

    Put it last in a chain, after constraints, so that w_t is what the model will hold, and inside
    `accumulate`, so that it averages updates and not micro-batches: `chain(adamw(1e-3),
    constrain(max_norm(2.0)), ema(0.999))`. `averaged_params` reads the average.

    Args:
        decay: beta, in [0, 1). Default: 0.99.
        debias: whether the weights of all parameters depend on their age only; otherwise w_1 stands
            for all parameters before it. Default: True.
        overwrite_frequency: updates after which the parameters are set to their average, each time;
            an integer of at least 1. Default: None, never.

    Returns:
        An `Optimizer` whose state is an `EmaState`.

    Raises:
        ValueError: an argument is out of its range.
        TypeError: an argument is of another type.

    Example:
        >>> tx = tl.chain(tl.sgd(1.0), tl.ema(0.5))
        >>> w = tf.constant(4.0)
        >>> state = tx.init(w)
        >>> for g in (1.0, 3.0):
        ...     updates, state = tx.update(tf.constant(g), state, w)
        ...     w = tl.apply_updates(w, updates)
        >>> float(w), round(float(tl.averaged_params(state, w)), 6)
        (0.0, 1.0)

    Differences:
        Keras: `debias` is False; the average is taken before the constraints, and under
            accumulation at every micro-batch.
        Optax: `ema` averages updates.

    References:
        Polyak and Juditsky 1992, "Acceleration of Stochastic Approximation by Averaging"; the
        correction is that of Kingma and Ba 2015, section 3.
    """
    check_number("decay", decay, at_least=0, below=1)
    if overwrite_frequency is not None:
        check_integer("overwrite_frequency", overwrite_frequency, at_least=1)

    def init(params: Tree) -> EmaState:
        return EmaState(tf.zeros([], tf.int64), tf.nest.map_structure(widen, params))

    def update(grads: Tree, state: State, params: Tree) -> tuple[Tree, EmaState]:
        t = state.step + 1
        new = apply_updates(params, grads)
        share = _new_share(t, decay, debias)
        averages, kept = leafwise(ema_leaf, new, state.average, share=share)
        if overwrite_frequency is not None:
            grads = _overwrite(t % overwrite_frequency == 0, grads, averages, params)
        return grads, EmaState(t, kept)

    return Optimizer(init, update)


def _new_share(t: Tensor, decay: float, debias: bool) -> Tensor:
    """Return c_t in float64, where 1 - beta^t keeps its digits."""
    beta = scalar(decay, tf.zeros([], tf.float64))
    if debias:
        return (1 - beta) / (1 - beta ** tf.cast(t, tf.float64))
    return tf.where(t == 1, tf.ones_like(beta), 1 - beta)


def _overwrite(due: Tensor, updates: Tree, averages: Tree, params: Tree) -> Tree:
    """Return updates that lead to the averages where the condition holds."""

    def choose(u: Tensor, a: Tensor, w: Tensor) -> Tensor:
        return tf.where(due, a - widen(w), no_change(a) if u is None else u)

    return tf.nest.map_structure(choose, updates, averages, params, check_types=False)
