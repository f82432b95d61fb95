"""Stop training when a result stops improving."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from trainlib.core.checks import check_integer, check_number
from trainlib.core.tree import check_same_structure
from trainlib.core.types import Tensor, Tree
from trainlib.monitors.base import Monitor, as_number, counter, where
from trainlib.monitors.improvement import improvement
from trainlib.transforms.states import select


class EarlyStopState(NamedTuple):
    """State of `early_stop`.

    Attributes:
        epoch: epochs seen, int64 [].
        best: the best result, float64 []; NaN or an infinity before there is one.
        wait: epochs since the last improvement, int64 [].
        best_epoch: the epoch of the best result, counted from 1, int64 []; 0 before there is one.
        stop: whether to stop, bool [].
        best_params: the parameters of best_epoch; () unless restore_best_weights is set.
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
) -> Monitor:
    """Stop training when a result stops improving.

        wait = 0 if v is the new best, and better than the baseline, else wait + 1
        stop when wait >= patience in an epoch without a new best

    The state is final once `stop` is true: later updates do not change it. A state of NumPy scalars
    is updated by NumPy, and gives the same values.

    Args:
        monitor: the name of the result. Default: "val_loss".
        min_delta: smallest absolute improvement, at least 0. Default: 0.
        patience: epochs without improvement before training stops, at least 0; 0 has the effect of
            1. Default: 0.
        mode: "min" if lower is better, "max" if higher is, "auto" to infer it from the name.
            Default: "auto".
        baseline: a value that must also be improved on to reset the wait; None for no baseline.
            Default: None.
        restore_best_weights: whether the state keeps the parameters of the best epoch. Default:
            False.
        start_from_epoch: number of first epochs to ignore, at least 0. Default: 0.
        first: what becomes the first best. "number": the first value that is not NaN; "any": the
            first value, even NaN, which nothing improves on; "worst": a value better than infinity.
            Default: "number".
        compare_dtype: dtype in which results are compared, "float32" or "float64". Default:
            "float32".

    Returns:
        A `Monitor`. `init(params)`, or `init()` without restore_best_weights, returns the first
        `EarlyStopState`, and `update(metric, state, params)` the next one.

    Raises:
        ValueError, TypeError: an argument is out of range or of the wrong type, or mode is "auto"
            and the name contains no known word.

    Example:
        >>> monitor = tl.early_stop("val_accuracy", patience=2)
        >>> state = monitor.init()
        >>> for accuracy in (0.7, 0.9, 0.8, 0.85):
        ...     state = monitor.update(accuracy, state)
        >>> bool(state.stop), int(state.best_epoch)
        (True, 2)

    Differences:
        Keras: a NaN in the first epoch that is not ignored stays the best forever; that is
            first="any".

    References:
        Prechelt 1998, "Early Stopping - But When?".
    """
    is_better = improvement(monitor, mode, min_delta, first=first, compare_dtype=compare_dtype)
    check_integer("patience", patience, at_least=0)
    check_integer("start_from_epoch", start_from_epoch, at_least=0)
    if baseline is not None:
        check_number("baseline", baseline)

    def init(params: Tree = ()) -> EarlyStopState:
        if restore_best_weights and not tf.nest.flatten(params):
            raise ValueError("restore_best_weights needs the parameters: init(params)")
        kept = tf.nest.map_structure(tf.convert_to_tensor, params) if restore_best_weights else ()
        return EarlyStopState(
            counter(0), is_better.initial_best(), counter(0), counter(0), tf.constant(False), kept
        )

    def observe(v: Tensor, state: EarlyStopState, params: Tree) -> EarlyStopState:
        """Return the state after an epoch that is not ignored."""
        epoch, is_first = state.epoch + 1, state.epoch == start_from_epoch
        improved = is_better.accepts(v, state.best, is_first)
        resets_wait = improved if baseline is None else improved & is_better.better(v, baseline)
        wait = where(resets_wait, np.int64(0), state.wait + 1)
        # The parameters of the first epoch are kept even if its result is NaN.
        keep = improved | is_first
        return EarlyStopState(
            epoch,
            where(improved, v, state.best),
            wait,
            where(keep, epoch, state.best_epoch),
            ~improved & (wait >= patience) & (epoch > 1),
            select(keep, params, state.best_params),
        )

    def update(metric: float | Tensor, state: EarlyStopState, params: Tree = ()) -> EarlyStopState:
        kept = params if restore_best_weights else ()
        check_same_structure("the state's best_params", state.best_params, "params", kept)
        observed = observe(as_number(metric, state.best), state, kept)
        ignored = state._replace(epoch=state.epoch + 1)
        new = select(state.epoch >= start_from_epoch, observed, ignored)
        final: EarlyStopState = select(state.stop, state, new)
        return final

    return Monitor(monitor, init, update)
