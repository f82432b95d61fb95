"""The average of the parameters over the updates: what evaluation often does better with.

    a_t = a_(t-1) + c_t (w_t - a_(t-1))

    debiased    c_t = (1 - beta) / (1 - beta^t)
    not so      c_1 = 1;  c_t = 1 - beta for t > 1

Debiased, a_t is the mean of w_1 ... w_t with weights beta^(t-i): the running mean that begins at 0,
divided by 1 - beta^t. Else w_1 has the weight beta^(t-1), and stays in the average for long.
"""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from trainlib.core.checks import check_number
from trainlib.core.tree import leafwise, leaves_by_path, paths, scalar, widen
from trainlib.core.types import Optimizer, State, Tensor, Tree, apply_updates
from trainlib.transforms.checks import check_count
from trainlib.transforms.states import find_states, no_change


class EmaState(NamedTuple):
    """step: updates averaged, int64 []. average: a, like the parameters; w_0 before the first."""

    step: Tensor
    average: Tree


def ema_rule(w: Tensor, a: Tensor, *, share: Tensor) -> tuple[Tensor, Tensor]:
    """a = (1 - c) a + c w, twice: it is the value that overwrites, and what is kept."""
    a = (1 - share) * a + share * w
    return a, a


def ema(
    decay: float = 0.99, debias: bool = True, overwrite_frequency: int | None = None
) -> Optimizer:
    """Averages the parameters after each update; the updates pass through.

        a_t = a_(t-1) + c_t (w_t - a_(t-1)),  c_t = (1 - decay) / (1 - decay^t)

    It stands last in a chain, after constraints, so that w_t is what the model will hold; and
    inside `accumulate`, so that it averages updates, not micro-batches. `ema_params` reads it.

        chain(adamw(1e-3), constrain(max_norm(2.0)), ema(0.999))

    Args:
        decay: beta, in [0, 1).
        debias: whether all of a_t is weighted by age; else w_1 stands for all that was before.
        overwrite_frequency: at every so many updates the parameters become their average.

    Raises:
        ValueError, TypeError: an argument out of its range, or of another type.

    Differs from: Keras, whose form is debias=False, which averages the parameters before their
    constraint, and under accumulation at every micro-batch too; Optax's `ema`, which averages
    updates.

    Reference: Polyak and Juditsky 1992, "Acceleration of Stochastic Approximation by Averaging";
    the correction is that of Kingma and Ba 2015, section 3.
    """
    check_number("decay", decay, at_least=0, below=1)
    if overwrite_frequency is not None:
        check_count("overwrite_frequency", overwrite_frequency)

    def init(params: Tree) -> EmaState:
        return EmaState(tf.zeros([], tf.int64), tf.nest.map_structure(widen, params))

    def update(grads: Tree, state: State, params: Tree) -> tuple[Tree, EmaState]:
        t = state.step + 1
        new = apply_updates(params, grads)
        averages, kept = leafwise(ema_rule, new, state.average, share=_share(t, decay, debias))
        if overwrite_frequency is not None:
            grads = _overwrite(t % overwrite_frequency == 0, grads, averages, params)
        return grads, EmaState(t, kept)

    return Optimizer(init, update)


def ema_params(state: State, params: Tree) -> Tree:
    """The averaged parameters, in the dtypes and the structure of the parameters.

        evaluate(ema_params(opt_state, params))

    A parameter without an average, a frozen one, is returned as it is.

    Args:
        state: of `ema`, or of anything with an `ema` in it: a chain, a wrapper, a partition.
        params: the parameters of that state.

    Raises:
        ValueError: no average in the state, or two of one parameter.
    """
    averages: dict[str, Tensor] = {}
    for found in find_states(state, EmaState):
        for path, a in leaves_by_path(found.average):
            if path in averages:
                raise ValueError(f"two averages of {path!r}: give one of their states")
            averages[path] = a
    if not averages:
        raise ValueError("no average in this state: put ema(...) last in the chain")

    def average(path: str, w: Tensor) -> Tensor:
        w = tf.convert_to_tensor(w)
        return tf.cast(averages[path], w.dtype) if path in averages else w

    return tf.nest.map_structure(average, paths(params), params)


def _share(t: Tensor, decay: float, debias: bool) -> Tensor:
    """c_t in float64, where 1 - beta^t keeps its digits."""
    beta = scalar(decay, tf.zeros([], tf.float64))
    if debias:
        return (1 - beta) / (1 - beta ** tf.cast(t, tf.float64))
    return tf.where(t == 1, tf.ones_like(beta), 1 - beta)


def _overwrite(due: Tensor, updates: Tree, averages: Tree, params: Tree) -> Tree:
    """The updates that lead to the averages where the condition holds."""

    def choose(u: Tensor, a: Tensor, w: Tensor) -> Tensor:
        return tf.where(due, a - widen(w), no_change(a) if u is None else u)

    return tf.nest.map_structure(choose, updates, averages, params, check_types=False)
