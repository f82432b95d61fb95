"""The update of the parameters, `apply_gradients`, with the finite guard around it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import TypeAlias

import tensorflow as tf

from trainlib.constraints import Constraint
from trainlib.core.finite import first_nonfinite
from trainlib.core.norms import global_norm
from trainlib.core.tree import map_values, paths, widen
from trainlib.core.types import State, Tensor, Tree, apply_updates, update_with
from trainlib.metrics import Mean
from trainlib.step.averages import entries, update_average
from trainlib.step.finite_guard import update_finite_guard
from trainlib.step.gradients import Gradients
from trainlib.step.loss_scale import unscale_grads
from trainlib.step.state import (
    NORMS,
    MetricStates,
    Observer,
    StepConfig,
    TrainState,
    check_state_fits,
    optimizer_of,
)
from trainlib.transforms.accumulate import update_made
from trainlib.transforms.states import select

Update: TypeAlias = Callable[[TrainState, Gradients, Tensor], tuple[TrainState, MetricStates]]
"""`update_params` of a config: `(state, gradients, last) -> (state, states of the norms)`."""


def apply_gradients(
    config: StepConfig,
    state: TrainState,
    gradients: Gradients,
    last: Tensor = False,
    *,
    observer: Observer | None = None,
) -> tuple[TrainState, MetricStates]:
    """Return the training state after an update with the gradients.

    The gradients are unscaled and tested for infinities and NaNs; the optimizer turns them into
    updates (which its own chain clips, decays, constrains and averages); the updates are added;
    then the constraints of the config are applied, and its average takes the new parameters.

    A step that the finite guard skips changes only `finite_guard` and `loss_scale`; it is left out
    of the metric states. Where `accumulate` is around the whole optimizer, such a micro-batch is
    left out of its window.

    Args:
        config: the optimizer, the loss scale and the finite guard.
        state: the training state.
        gradients: result of `compute_gradients`, or of `reduce_gradients` if there are replicas.
        last: whether the batch is the last of an epoch: closes the window of `accumulate`. Ignored
            by other optimizers. Default: False.
        observer: a function that is called with "update" and the updates. Default: None.

    Returns:
        The new training state, and the metric states of the batch.

    Raises:
        ValueError: the state was made without the loss scale, the finite guard or the average of
            the config.

    Example:
        >>> config = tl.StepConfig(
        ...     lambda w, state, x, training: tl.ModelOutput(x * w),
        ...     tl.losses.mean_squared_error, tl.sgd(0.25))
        >>> state = tl.init_state(tf.constant([1.0]), (), config.optimizer)
        >>> gradients = tl.compute_gradients(config, state, (tf.ones([4, 1]), tf.zeros([4, 1])))
        >>> state, metrics = tl.apply_gradients(config, state, gradients)
        >>> float(state.params[0]), int(state.step), float(metrics["loss"].compute())
        (0.5, 1, 1.0)
    """
    update = functools.partial(update_params, config, observer=observer)
    return apply_gradients_with(update, config, state, gradients, last)


def apply_gradients_with(
    update: Update, config: StepConfig, state: TrainState, gradients: Gradients, last: Tensor
) -> tuple[TrainState, MetricStates]:
    """Return what `apply_gradients` does, with an `update_params` that may be compiled."""
    check_state_fits(config, state)
    model_state, metrics = gradients.model_state, gradients.metrics
    # Metrics and what is not averaged are left out: a compiled update would copy them.
    averaged = config.averaged_state if config.average is not None else ()
    new, norms = update(
        state._replace(model_state=entries(state.model_state, averaged)),
        gradients._replace(
            model_state=entries(model_state, averaged),
            metrics={},
            batch_loss=(),
        ),
        last,
    )
    step = state.step + 1
    if config.skips_nonfinite:
        is_finite = new.finite_guard.skipped_in_a_row == 0
        step, model_state = select(is_finite, (step, model_state), (state.step, state.model_state))
        metrics = select(is_finite, metrics, tf.nest.map_structure(tf.zeros_like, metrics))
    return new._replace(step=step, model_state=model_state), metrics | norms


def update_params(
    config: StepConfig,
    state: TrainState,
    gradients: Gradients,
    last: Tensor = False,
    *,
    observer: Observer | None = None,
) -> tuple[TrainState, MetricStates]:
    """Return the state with new parameters, optimizer state, loss scale and finite guard.

    This is the part of `apply_gradients` that XLA can compile by itself; the arguments are the
    same. It reads only the averaged entries of the model state, and also returns the metric states
    of the norms.
    """
    if config.skips_nonfinite:
        return _update_if_finite(config, state, gradients, last, observer=observer)
    if gradients.params is not None:
        state = state._replace(params=gradients.params)
    return _update(config, state, gradients, {"last": last}, observer=observer)


def _update_if_finite(
    config: StepConfig,
    state: TrainState,
    gradients: Gradients,
    last: Tensor,
    *,
    observer: Observer | None,
) -> tuple[TrainState, MetricStates]:
    """Return what `_update` does, with new parameters only if loss and gradients are finite."""
    grads = unscale_grads(tf.nest.map_structure(_widen, gradients.grads), state.loss_scale)
    gradients = gradients._replace(grads=grads)
    index = _nonfinite_index(gradients)
    is_finite = index < 0
    due, extra = is_finite, {"last": last}
    if "is_finite" in optimizer_of(config).extra_args:
        due, extra = is_finite | last, {"last": last, "is_finite": is_finite}
    if gradients.params is not None:
        state = state._replace(params=select(is_finite, gradients.params, state.params))
    kept = select(is_finite, gradients.model_state, state.model_state)
    gradients = gradients._replace(model_state=kept)
    no_norms = {name: Mean.empty() for name in NORMS} if config.norms else {}

    def updated() -> tuple[Tree, State, State, MetricStates]:
        new, norms = _update(config, state, gradients, extra, observer=observer)
        return new.params, new.opt_state, new.average, select(is_finite, norms, no_norms)

    choose = _cond if observer is None else _where
    old = (state.params, state.opt_state, state.average, no_norms)
    params, opt_state, average, norms = choose(due, updated, old)
    loss_scale, exhausted = state.loss_scale, tf.constant(True)
    if config.loss_scale is not None:
        exhausted = config.loss_scale.is_lowest(loss_scale)
        loss_scale = config.loss_scale.update(loss_scale, is_finite)
    return state._replace(
        params=params,
        opt_state=opt_state,
        average=average,
        loss_scale=loss_scale,
        finite_guard=update_finite_guard(state.finite_guard, index, exhausted),
    ), norms


def _update(
    config: StepConfig,
    state: TrainState,
    gradients: Gradients,
    extra: dict[str, Tensor],
    *,
    observer: Observer | None,
) -> tuple[TrainState, MetricStates]:
    """Return the state after an update, and the states of the norms, without a guard."""
    extra = {"weight": gradients.weight, **extra}
    with tf.name_scope("update"):
        updates, opt_state = update_with(
            optimizer_of(config), gradients.grads, state.opt_state, state.params, **extra
        )
        params = apply_updates(state.params, updates)
        watched = config.constraints or config.average is not None
        made = update_made(state.opt_state, opt_state) if watched else None
        if config.constraints:
            params = _constrained(config.constraints, params, updates, made)
        average = state.average
        if config.average is not None:
            params, average = update_average(
                config.average, average, params, gradients.model_state, made
            )
    if observer is not None:
        observer("update", updates)
    norms = _norms(gradients.grads, updates) if config.norms else {}
    return state._replace(params=params, opt_state=opt_state, average=average), norms


def _constrained(
    constraints: Mapping[str, Constraint], params: Tree, updates: Tree, made: Tensor | None
) -> Tree:
    """Return updated parameters under their constraints; those without an update stay as they are.

    Args:
        constraints: by path of a parameter.
        params: the parameters after the update.
        updates: in the structure of the parameters.
        made: whether an update was made, bool []; None if every step makes one.

    Raises:
        ValueError: there is no parameter of one of the paths.
    """
    names = paths(params)
    unknown = set(constraints) - set(tf.nest.flatten(names))
    if unknown:
        raise ValueError(f"constraints: no parameter has the path {sorted(unknown)[0]!r}")

    def constrained(path: str, w: Tensor, u: Tensor) -> Tensor:
        if path not in constraints or u is None:
            return w
        new = tf.cast(constraints[path](w), w.dtype)
        # Beside parameters whose updates are accumulated there may be others, updated at each step.
        return new if made is None else tf.where(made | tf.reduce_any(u != 0), new, w)

    return tf.nest.map_structure(constrained, names, params, updates, check_types=False)


def _norms(*trees: Tree) -> MetricStates:
    """Return the metric states of the gradients' and the updates' norms at one step."""
    with tf.name_scope("norms"):
        one = tf.ones([], tf.float64)
        return {
            name: Mean(tf.cast(global_norm(tree), tf.float64), one)
            for name, tree in zip(NORMS, trees, strict=True)
        }


def _nonfinite_index(gradients: Gradients) -> Tensor:
    """Return `FiniteGuardState.nonfinite_index` of a step; -1 if all is finite."""
    loss_index = tf.constant(len(tf.nest.flatten(gradients.grads)), tf.int64)
    index = first_nonfinite(gradients.grads)
    return tf.where(first_nonfinite(gradients.loss) < 0, index, loss_index)


def _widen(g: Tensor) -> Tensor:
    """Return a gradient in its compute dtype; None stays None."""
    return None if g is None else map_values(widen, g)


def _where(condition: Tensor, new: Callable[[], Tree], old: Tree) -> Tree:
    """Select like `_cond`, but without a branch, whose tensors an observer could not read."""
    return select(condition, new(), old)


def _cond(condition: Tensor, new: Callable[[], Tree], old: Tree) -> Tree:
    """Return `new()` where the condition holds, else the old.

    The update is a branch by itself so that XLA compiles it to the same bits as without a guard.
    All replicas take the same branch, since they decide by the same sums.
    """
    kept = [x for x in tf.nest.flatten(old) if x is not None]
    made: list[Tree] = []

    def branch() -> list[Tensor]:
        made.append(new())
        return [x for x in tf.nest.flatten(made[-1]) if x is not None]

    values = iter(tf.cond(condition, branch, lambda: kept))
    return tf.nest.map_structure(
        lambda x: None if x is None else next(values), made[-1] if made else old
    )
