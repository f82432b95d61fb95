"""Performance scheduling: state machines that watch a result of each epoch.

    state = machine.init(learning_rate)
    state = machine.update(val_loss, state)       after each epoch

All of a state are tensors of fixed dtypes and shapes: the machines run eagerly, in a
`tf.function`, under XLA, in a `tf.while_loop` and in `tf.scan`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from trainlib.core.checks import check_choice, check_integer, check_number
from trainlib.core.conventions import BY_CONVENTION, conventions
from trainlib.core.tree import check_same_structure, float64
from trainlib.core.types import State, Tensor, Tree
from trainlib.monitors.improvement import DTYPES, improvement
from trainlib.transforms.states import select

PATIENCE_RULES = ("ge", "gt")
COOLDOWN_RULES = ("short", "full")


class Machine(NamedTuple):
    """A pair of pure functions that watch a result.

    monitor: the result's name. init: `(learning_rate or params) -> state`. update:
    `(metric, state) -> state`, of `early_stop` `(metric, state, params) -> state`.
    """

    monitor: str
    init: Callable[..., State]
    update: Callable[..., State]


class PlateauState(NamedTuple):
    """epoch: epochs seen; wait: epochs since the last improvement, reduction or cooldown;
    cooldown: epochs that it still lasts; all int64 []. best: the best metric, float64 [], NaN
    or an infinity before there is one. learning_rate: that of the next epoch, in rate_dtype [].
    """

    epoch: Tensor
    best: Tensor
    wait: Tensor
    cooldown: Tensor
    learning_rate: Tensor


_KERAS = {
    "min_delta": 1e-4,
    "rel_delta": 0.0,
    "delta_at": "metric",
    "patience_rule": "ge",
    "cooldown_rule": "short",
    "first": "number",
    "eps": 0.0,
    "compare_dtype": "float32",
    "rate_dtype": "float32",
}
_OPTAX = _KERAS | {
    "min_delta": 0.0,
    "rel_delta": 1e-4,
    "delta_at": "best",
    "cooldown_rule": "full",
    "first": "worst",
    "compare_dtype": "float64",
    "rate_dtype": "float64",
}
_TORCH = _OPTAX | {"patience_rule": "gt", "eps": 1e-8}


@conventions(keras=_KERAS, torch=_TORCH, optax=_OPTAX)
def reduce_on_plateau(
    monitor: str = "val_loss",
    factor: float = 0.1,
    patience: int = 10,
    mode: str = "auto",
    min_delta: float = BY_CONVENTION,
    cooldown: int = 0,
    min_lr: float = 0.0,
    *,
    rel_delta: float = BY_CONVENTION,
    delta_at: str = BY_CONVENTION,
    patience_rule: str = BY_CONVENTION,
    cooldown_rule: str = BY_CONVENTION,
    first: str = BY_CONVENTION,
    eps: float = BY_CONVENTION,
    compare_dtype: str = BY_CONVENTION,
    rate_dtype: str = BY_CONVENTION,
    convention: str = "keras",
) -> Machine:
    """A learning rate that falls when a result has stopped to improve.

        wait = 0 if v is the new best or in cooldown, else wait + 1
        ge     once wait = max(patience, 1)     eta = max(factor eta, min_lr), wait = 0
        gt     once wait = patience + 1         the same

    The state begins with `init(learning_rate)`; `state.learning_rate` is the rate to go on with.

    Args:
        monitor: the name of the result.
        factor: what the rate is multiplied by, above 0 and below 1.
        patience: epochs without improvement that are borne, at least 0.
        mode: "min", less is better; "max", more is; "auto", as the name tells.
        min_delta: what an improvement is at least, at least 0.
        cooldown: epochs after a reduction that do not count as without improvement, at least 0.
        min_lr: the rate is not reduced below it; at least 0.
        rel_delta: what an improvement is at least as a share of the best, in [0, 1).
        delta_at: "metric", v + min_delta is compared; or "best", best - min_delta is.
        patience_rule: "ge" or "gt": whether the rate falls with epoch `patience` without
            improvement or with the one after it.
        cooldown_rule: "full"; or "short", where the last epoch of the cooldown counts.
        first: the first best: "number", the first value that is no NaN; "any", the first value,
            a NaN too, after which nothing is better; "worst", one better than infinity.
        eps: a change of the rate that is not above it is not made; at least 0.
        compare_dtype: "float32" or "float64", in which metrics are compared.
        rate_dtype: "float32" or "float64", in which the rate is held.
        convention: "keras" (min_delta 1e-4 at the metric, ge, short, both dtypes float32),
            "torch" (rel_delta 1e-4, gt, full, worst, eps 1e-8, float64), "optax" (as torch, but
            ge and eps 0).

    Raises:
        ValueError, TypeError: an argument out of its range, or a name that tells no direction.

    Differs from: Keras, where a NaN in the first epoch is the best for ever: that is
    first="any". Optax, where with patience 0 the rate falls with each improvement, a rate below
    min_scale is raised to it, and metrics of several calls can be averaged.
    """
    is_better = improvement(monitor, mode, min_delta, rel_delta, delta_at, first, compare_dtype)
    check_number("factor", factor, above=0, below=1)
    check_integer("patience", patience, at_least=0)
    check_integer("cooldown", cooldown, at_least=0)
    check_number("min_lr", min_lr, at_least=0)
    check_number("eps", eps, at_least=0)
    check_choice("patience_rule", patience_rule, PATIENCE_RULES)
    check_choice("cooldown_rule", cooldown_rule, COOLDOWN_RULES)
    check_choice("rate_dtype", rate_dtype, DTYPES)
    limit = max(patience, 1) if patience_rule == "ge" else patience + 1
    least = float(np.dtype(rate_dtype).type(min_lr))

    def init(learning_rate: float | Tensor) -> PlateauState:
        check_number("learning_rate", learning_rate, at_least=0)
        rate = tf.cast(float64(learning_rate), rate_dtype)
        return PlateauState(_int64(0), is_better.no_best(), _int64(0), _int64(0), rate)

    def update(metric: float | Tensor, state: PlateauState) -> PlateauState:
        v, rate = float64(metric), float64(state.learning_rate)
        improved = is_better.accepts(v, state.best, state.epoch == 0)
        left = tf.maximum(state.cooldown - 1, 0)
        cooling = (left if cooldown_rule == "short" else state.cooldown) > 0
        wait = tf.where(improved | cooling, _int64(0), state.wait + 1)

        lower = tf.maximum(factor * rate, min_lr)
        reduced = (wait >= limit) & (rate > least) & (rate - lower > eps)
        return PlateauState(
            state.epoch + 1,
            tf.where(improved, v, state.best),
            tf.where(reduced, _int64(0), wait),
            tf.where(reduced, _int64(cooldown), left),
            tf.where(reduced, tf.cast(lower, rate_dtype), state.learning_rate),
        )

    return Machine(monitor, init, update)


class EarlyStopState(NamedTuple):
    """epoch: epochs seen; wait: epochs since the last improvement; best_epoch: the epoch of the
    best, from 1, and 0 before there is one; all int64 []. best: the best metric, float64 [], NaN
    before there is one. stop: whether to stop, bool []. best_params: those of best_epoch, or ().
    """

    epoch: Tensor
    best: Tensor
    wait: Tensor
    best_epoch: Tensor
    stop: Tensor
    best_params: Tree


def early_stop(
    monitor: str = "val_loss",
    min_delta: float = 0.0,
    patience: int = 0,
    mode: str = "auto",
    baseline: float | None = None,
    restore_best_weights: bool = False,
    start_from_epoch: int = 0,
    *,
    first: str = "number",
    compare_dtype: str = "float32",
) -> Machine:
    """A sign to stop when a result has stopped to improve.

        wait = 0 if v is the new best, and better than the baseline, else wait + 1
        stop once wait >= patience in an epoch that brings no new best

    The state begins with `init(params)`, or `init()` where none are restored. It is final from
    the stop on: no update changes it.

    Args:
        monitor: the name of the result.
        min_delta: what an improvement is at least, at least 0.
        patience: epochs without improvement that are borne, at least 0; 0 is as 1.
        mode: "min", less is better; "max", more is; "auto", as the name tells.
        baseline: a value that must be improved on too for waiting to begin anew; None for none.
        restore_best_weights: whether the state holds the parameters of the best epoch.
        start_from_epoch: epochs at the start that are not looked at, at least 0.
        first: the first best: "number", the first value that is no NaN; "any", the first value,
            a NaN too, after which nothing is better; "worst", one better than infinity.
        compare_dtype: "float32" or "float64", in which metrics are compared.

    Raises:
        ValueError, TypeError: an argument out of its range, or a name that tells no direction.

    Differs from: Keras, where a NaN in the first epoch that is looked at is the best for ever:
    that is first="any".

    Reference: Prechelt 1998, "Early Stopping - But When?".
    """
    is_better = improvement(monitor, mode, min_delta, first=first, compare_dtype=compare_dtype)
    check_integer("patience", patience, at_least=0)
    check_integer("start_from_epoch", start_from_epoch, at_least=0)
    if baseline is not None:
        check_number("baseline", baseline)

    def init(params: Tree = ()) -> EarlyStopState:
        if restore_best_weights and not tf.nest.flatten(params):
            raise ValueError("restore_best_weights needs the parameters: init(params)")
        held = tf.nest.map_structure(tf.convert_to_tensor, params) if restore_best_weights else ()
        return EarlyStopState(
            _int64(0), is_better.no_best(), _int64(0), _int64(0), tf.constant(False), held
        )

    def watch(v: Tensor, state: EarlyStopState, params: Tree) -> EarlyStopState:
        """The state after an epoch that is looked at."""
        epoch, is_first = state.epoch + 1, state.epoch == start_from_epoch
        improved = is_better.accepts(v, state.best, is_first)
        renewed = improved if baseline is None else improved & is_better.better(v, baseline)
        wait = tf.where(renewed, _int64(0), state.wait + 1)
        # Where the first of all is a NaN, its parameters are the best so far all the same.
        taken = improved | is_first
        return EarlyStopState(
            epoch,
            tf.where(improved, v, state.best),
            wait,
            tf.where(taken, epoch, state.best_epoch),
            ~improved & (wait >= patience) & (epoch > 1),
            select(taken, params, state.best_params),
        )

    def update(metric: float | Tensor, state: EarlyStopState, params: Tree = ()) -> EarlyStopState:
        held = params if restore_best_weights else ()
        check_same_structure("the state's best_params", state.best_params, "params", held)
        watched = watch(float64(metric), state, held)
        unwatched = state._replace(epoch=state.epoch + 1)
        new = select(state.epoch >= start_from_epoch, watched, unwatched)
        final: EarlyStopState = select(state.stop, state, new)
        return final

    return Machine(monitor, init, update)


def _int64(x: int) -> Tensor:
    return tf.constant(x, tf.int64)
