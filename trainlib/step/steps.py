"""TrainState and the pure steps over it: the one place where the order of a step is decided."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

import tensorflow as tf

from trainlib.core.norms import global_norm
from trainlib.core.tree import widen
from trainlib.core.types import Optimizer, State, Tensor, Tree, apply_updates
from trainlib.losses import Loss, weighted_sum
from trainlib.metrics import ExampleMetric, Mean, Metric, as_metric
from trainlib.regularizers import Regularizer
from trainlib.step.loss_scale import (
    LossScale,
    LossScaleState,
    check_loss_scale,
    first_nonfinite,
    scale_loss,
    unscale_grads,
)
from trainlib.transforms.accumulate import AccumulateState
from trainlib.transforms.chain import update_with
from trainlib.transforms.states import select


class TrainState(NamedTuple):
    """All that a run is.

    step: updates made, int64 []. params: the trained tensors. model_state: what else the model
    keeps, such as batch statistics and dropout seeds. opt_state: the optimizer's. loss_scale: a
    `LossScaleState`, or `()` where losses are not scaled. seed: int64 [], from which the order of
    examples follows.
    """

    step: Tensor
    params: Tree
    model_state: Tree
    opt_state: State
    loss_scale: State
    seed: Tensor


class ModelOutput(NamedTuple):
    """What a model returns: predictions, its new state, and a penalty to add to the loss."""

    y_pred: Tensor
    model_state: Tree = ()
    penalty: Tensor = 0.0


ApplyFn: TypeAlias = Callable[..., ModelOutput]
"""A model as a pure function: `(params, model_state, x, training) -> ModelOutput`."""
Records: TypeAlias = dict[str, Any]
"""The records of the loss, a `Mean`, and of the metrics by name; see `trainlib.metrics`."""
Batch: TypeAlias = tuple[Any, ...]
"""`(x, y)` or `(x, y, sample_weight)`."""
Reduce: TypeAlias = Callable[[Tree], Tree]
"""Sums a structure of tensors over the replicas, on each of them; leaves of None stay None."""
NORMS = ("gradient_norm", "update_norm")
"""The names of the records of norms."""
Observer: TypeAlias = Callable[[str, Tree], None]
"""Is told a name, and tensors that a step computes on its way."""


def init_state(
    params: Tree,
    model_state: Tree,
    optimizer: Optimizer,
    seed: int = 0,
    loss_scale: LossScale | None = None,
) -> TrainState:
    """The state before the first step; loss_scale is the one that `train_step` is given."""
    check_loss_scale(loss_scale)
    return TrainState(
        step=tf.zeros([], tf.int64),
        params=params,
        model_state=model_state,
        opt_state=optimizer.init(params),
        loss_scale=() if loss_scale is None else loss_scale.init(),
        seed=tf.constant(seed, tf.int64),
    )


def train_step(
    apply_fn: ApplyFn,
    loss_fn: Loss,
    optimizer: Optimizer,
    *,
    metrics: Mapping[str, Metric | ExampleMetric] | None = None,
    regularizer: Regularizer | None = None,
    loss_scale: LossScale | None = None,
    compile_update: bool = False,
    compile_gradients: bool = False,
    reduce: Reduce | None = None,
    finite_loss: bool = False,
    norms: bool = False,
    observer: Observer | None = None,
) -> Callable[..., tuple[TrainState, Records]]:
    """The pure step `(state, batch, last=False) -> (state, records)`.

    With an optimizer made by `accumulate` a batch is a micro-batch of its window and weighs there
    what its examples weigh; `last` closes the window, at the end of an epoch, say. To any other
    optimizer `last` says nothing.

    The loss is sum(w l) / sum(w) + penalties, with the weights w of the batch, or 1; the metrics
    are those of the model before the update, in training mode.

    With a loss_scale the order is: scale the loss, take the gradients, unscale them, test whether
    all are finite, update, choose. A step whose gradients are not all finite changes no bit of the
    state but its `loss_scale`. In the window of an `accumulate` around the whole optimizer such a
    micro-batch is left out: it does not count, and the others weigh what they weigh.

    On each of several replicas, with a part of the batch on each, the step is the same, but for

        g = sum of grad(sum of w l + omega_r penalty) / sum of omega_r

    with the sums of weights omega_r of the replicas r: the gradient over the whole batch, however
    unequal its parts, with a penalty counted once. All replicas then make the same update. The
    records stay those of a replica's own part, and add up. The losses of all parts must have one
    shape; rows of weight 0 fill up a shorter one.

    Args:
        apply_fn: `(params, model_state, x, training) -> ModelOutput`.
        loss_fn: `(y_true, y_pred) -> loss of each example`.
        optimizer: makes updates of gradients.
        metrics: by name, each a `Metric` or `(y_true, y_pred) -> value of each example`, of
            which the record is a `Mean`; "loss" comes by itself.
        regularizer: `params -> penalty`.
        loss_scale: `dynamic_loss_scale()` for float16; the one that `init_state` was given.
        compile_update: whether XLA compiles the update, for a step that it does not compile whole.
        compile_gradients: the same of the model, its loss and their gradient.
        reduce: on one of several replicas, what sums a structure of tensors over all of them.
        finite_loss: with a loss_scale, whether a step whose loss is not finite is skipped as well.
            The records of a skipped step then count nothing.
        norms: whether there are records of two norms, too, each over all parameters together:
            "gradient_norm", of the gradient that the optimizer is given, and "update_norm", of the
            updates that it makes of it. They are `Mean`s over the steps; one that is skipped does
            not count.
        observer: is told, in this order, the "loss", the "gradient"s, scaled as it is, and the
            "update"s; for those who trace a step to look into it.

    Raises:
        ValueError: a metric has the name of another record; a finite_loss without a loss_scale; at
            the first step, a state made with another kind of loss_scale.
    """
    check_loss_scale(loss_scale)
    if finite_loss and loss_scale is None:
        raise ValueError("finite_loss needs a loss_scale, such as tl.static_loss_scale(1.0)")
    for name in NORMS:
        if norms and name in (metrics or {}):
            raise ValueError(f"a metric is named {name!r} like the record of norms=True: rename it")
    observe: Observer = observer or _nothing
    advance = _update(optimizer, norms, observe)
    if loss_scale is not None:
        choose = _branch if observer is None else _choice
        advance = _update_if_finite(advance, loss_scale, norms, choose)
    differentiate = _differentiate(
        apply_fn, loss_fn, metrics, regularizer, reduce, finite_loss, observe
    )
    if compile_update:
        advance = tf.function(advance, jit_compile=True, autograph=False)
    if compile_gradients:
        differentiate = tf.function(differentiate, jit_compile=True, autograph=False)

    def step(state: TrainState, batch: Batch, last: Tensor = False) -> tuple[TrainState, Records]:
        _check_same_use(loss_scale, state)
        params, scale = state.params, state.loss_scale
        grads, loss, omega, model_state, records = differentiate(
            params, state.model_state, scale, batch
        )
        weight = records["loss"].count
        if reduce is not None:
            grads, loss, weight = _over_replicas(grads, loss, omega, weight, reduce)
        given = _Given(grads, loss, weight, last)
        params, opt_state, scale, measured = advance(given, params, state.opt_state, scale)
        count = state.step + 1
        if loss_scale is not None:
            made = scale.skipped_in_a_row == 0
            old = state.step, state.model_state
            count, model_state = select(made, (count, model_state), old)
            if finite_loss:
                records = select(made, records, tf.nest.map_structure(tf.zeros_like, records))
        new_state = state._replace(
            step=count,
            params=params,
            model_state=model_state,
            opt_state=opt_state,
            loss_scale=scale,
        )
        return new_state, records | measured

    return step


def gradient_step(
    apply_fn: ApplyFn,
    loss_fn: Loss,
    *,
    regularizer: Regularizer | None = None,
    reduce: Reduce | None = None,
) -> Callable[[TrainState, Batch], Tree]:
    """The pure function `(state, batch) -> grads`: what the optimizer would be given for a batch.

    The arguments are those of `train_step`.
    """
    differentiate = _differentiate(apply_fn, loss_fn, None, regularizer, reduce, False, _nothing)

    def step(state: TrainState, batch: Batch) -> Tree:
        scale = state.loss_scale
        grads, _, omega, _, records = differentiate(state.params, state.model_state, scale, batch)
        if reduce is not None:
            grads, *_ = _over_replicas(grads, (), omega, records["loss"].count, reduce)
        return unscale_grads(grads, scale)

    return step


def eval_step(
    apply_fn: ApplyFn,
    loss_fn: Loss,
    *,
    metrics: Mapping[str, Metric | ExampleMetric] | None = None,
    regularizer: Regularizer | None = None,
) -> Callable[[TrainState, Batch], Records]:
    """The pure step `(state, batch) -> records`, the model in inference mode.

    The arguments are those of `train_step`; the loss holds the penalties here too.
    """

    def step(state: TrainState, batch: Batch) -> Records:
        forward = apply_fn(state.params, state.model_state, batch[0], training=False)
        sums = _sums(forward, batch, loss_fn, regularizer, state.params)
        return _records(forward, batch, sums, metrics)

    return step


def predict_step(apply_fn: ApplyFn) -> Callable[[TrainState, Tensor], Tensor]:
    """The pure step `(state, x) -> y_pred`, the model in inference mode."""

    def step(state: TrainState, x: Tensor) -> Tensor:
        return apply_fn(state.params, state.model_state, x, training=False).y_pred

    return step


def _differentiate(
    apply_fn: ApplyFn,
    loss_fn: Loss,
    metrics: Mapping[str, Metric | ExampleMetric] | None,
    regularizer: Regularizer | None,
    reduce: Reduce | None,
    finite_loss: bool,
    observe: Observer,
) -> Callable[..., tuple[Any, ...]]:
    """`(params, model_state, scale, batch) -> (grads, loss, omega, model_state, records)`.

    The loss is `()` where it is not to be tested.
    """

    def differentiate(
        params: Tree, model_state: Tree, scale: State, batch: Batch
    ) -> tuple[Any, ...]:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(params)
            forward = apply_fn(params, model_state, batch[0], training=True)
            sums = _sums(forward, batch, loss_fn, regularizer, params)
            objective, omega = _objective(sums) if reduce is None else _objective_of_part(sums)
            scaled = scale_loss(objective, scale)
        observe("loss", scaled)
        grads = tape.gradient(scaled, params)
        observe("gradient", grads)
        records = _records(forward, batch, sums, metrics)
        loss = objective if finite_loss else ()
        return grads, loss, omega, forward.model_state, records

    return differentiate


class _Given(NamedTuple):
    """What an update is made of beside the state.

    grads: scaled as the loss was. loss: to be tested, or `()`. weight: of the batch. last: whether
    it ends an epoch.
    """

    grads: Tree
    loss: Tensor
    weight: Tensor
    last: Tensor


def _nothing(name: str, tree: Tree) -> None:
    """Watches nothing."""


def _update(
    optimizer: Optimizer, norms: bool, observe: Observer
) -> Callable[..., tuple[Tree, State, State, Records]]:
    """The update as a function of all that it reads; the loss's scale passes through."""

    def advance(
        given: _Given, params: Tree, opt_state: State, scale: State
    ) -> tuple[Tree, State, State, Records]:
        more = {"weight": given.weight, "last": given.last}
        with tf.name_scope("update"):
            updates, new = update_with(optimizer, given.grads, opt_state, params, **more)
            params = apply_updates(params, updates)
        observe("update", updates)
        return params, new, scale, _norms(given.grads, updates) if norms else {}

    return advance


def _norms(*trees: Tree) -> Records:
    """The records of the gradient's and the update's norm at one step."""
    with tf.name_scope("norms"):
        one = tf.ones([], tf.float64)
        return {
            name: Mean(tf.cast(global_norm(tree), tf.float64), one)
            for name, tree in zip(NORMS, trees, strict=True)
        }


def _update_if_finite(
    advance: Callable[..., tuple[Tree, State, State, Records]],
    loss_scale: LossScale,
    norms: bool,
    choose: Callable[[Tensor, Callable[[], Tree], Tree], Tree],
) -> Callable[..., tuple[Tree, State, State, Records]]:
    """The update of unscaled gradients; it changes the scale alone where they are not finite.

    A last micro-batch that is not finite still closes its window: with a gradient of weight 0.
    The loss is tested too, and named first, unless it is `()`.
    """

    def guarded(
        given: _Given, params: Tree, opt_state: State, scale: State
    ) -> tuple[Tree, State, State, Records]:
        grads, weight = unscale_grads(given.grads, scale), given.weight
        overflowed = first_nonfinite(grads)
        behind = tf.constant(len(tf.nest.flatten(grads)), tf.int64)
        overflowed = tf.where(first_nonfinite(given.loss) < 0, overflowed, behind)
        taken = finite = overflowed < 0
        if isinstance(opt_state, AccumulateState):
            zeros = tf.nest.map_structure(_zeros, (grads, weight))
            grads, weight = select(finite, (grads, weight), zeros)
            taken = finite | given.last
        unscaled = given._replace(grads=grads, weight=weight)
        none = {name: Mean.empty() for name in NORMS} if norms else {}

        def make() -> tuple[Tree, State, Records]:
            new_params, new_state, _, measured = advance(unscaled, params, opt_state, scale)
            return new_params, new_state, select(finite, measured, none)

        new_params, new_state, measured = choose(taken, make, (params, opt_state, none))
        return new_params, new_state, loss_scale.update(scale, overflowed), measured

    return guarded


def _choice(condition: Tensor, make: Callable[[], Tree], old: Tree) -> Tree:
    """The same as `_branch`, but all that is on the way can be seen."""
    return select(condition, make(), old)


def _branch(condition: Tensor, make: Callable[[], Tree], old: Tree) -> Tree:
    """What is made, where the condition holds; else the old.

    The update has a branch of its own so that XLA compiles it to the bits that it has by itself.
    Replicas take the same branch, since all decide by the same sums.
    """
    kept = [x for x in tf.nest.flatten(old) if x is not None]
    made: list[Tree] = []

    def new() -> list[Tensor]:
        made.append(make())
        return [x for x in tf.nest.flatten(made[-1]) if x is not None]

    values = iter(tf.cond(condition, new, lambda: kept))
    return tf.nest.map_structure(
        lambda x: None if x is None else next(values), made[-1] if made else old
    )


def _zeros(x: Tensor) -> Tensor:
    return None if x is None else tf.zeros_like(x)


def _check_same_use(loss_scale: LossScale | None, state: TrainState) -> None:
    """Raises unless the step and the state both scale losses, or neither does."""
    if (loss_scale is not None) != isinstance(state.loss_scale, LossScaleState):
        raise ValueError(
            f"loss_scale must be given to init_state and train_step alike: the state's is "
            f"{type(state.loss_scale).__name__}, the step's {type(loss_scale).__name__}"
        )


class _Sums(NamedTuple):
    """losses: l. total: sum of w l. count: sum of w. penalty: to add to their quotient."""

    losses: Tensor
    total: Tensor
    count: Tensor
    penalty: Tensor


def _sums(
    forward: ModelOutput,
    batch: Batch,
    loss_fn: Loss,
    regularizer: Regularizer | None,
    params: Tree,
) -> _Sums:
    """What the loss of a batch is made of."""
    _, y, *weight = batch
    losses = loss_fn(y, forward.y_pred)
    total, count = weighted_sum(losses, *weight)
    penalty = tf.cast(forward.penalty, total.dtype)
    if regularizer is not None:
        penalty += tf.cast(regularizer(params), total.dtype)
    return _Sums(losses, total, count, penalty)


def _objective(sums: _Sums) -> tuple[Tensor, Tensor]:
    """What a step on the whole batch differentiates, and the batch's weight."""
    return tf.math.divide_no_nan(sums.total, sums.count) + sums.penalty, sums.count


def _objective_of_part(sums: _Sums) -> tuple[Tensor, Tensor]:
    """What a replica differentiates, and the weight omega of its penalty.

    Both are divided by the number of losses, one for all replicas, so that gradients in float16
    are as large as those of a mean. Where nothing counts, omega is not quite 0: on a batch of
    weight 0 the gradient is that of the penalty, as it is on one device.
    """
    size = tf.cast(tf.size(sums.losses), sums.total.dtype)
    nothing = tf.constant(1e-30, sums.count.dtype)
    omega = tf.where(sums.count == 0, nothing, sums.count) / size
    return sums.total / size + omega * sums.penalty, omega


def _over_replicas(
    grads: Tree, loss: Tree, omega: Tensor, count: Tensor, reduce: Reduce
) -> tuple[Tree, Tree, Tensor]:
    """The gradient over the whole batch, its loss and its weight: sums, divided once.

    The loss, for the test whether it is finite alone, stays undivided; it may be `()`.
    """
    wide = [None if g is None else widen(g) for g in tf.nest.flatten(grads)]
    sums, loss, omega, count = reduce((wide, loss, omega, tf.cast(count, omega.dtype)))
    mean = [None if g is None else g / tf.cast(omega, g.dtype) for g in sums]
    return tf.nest.pack_sequence_as(grads, mean), loss, count


def _records(
    forward: ModelOutput,
    batch: Batch,
    sums: _Sums,
    metrics: Mapping[str, Metric | ExampleMetric] | None,
) -> Records:
    """The loss and the metrics of a batch, by name."""
    _, y, *weight = batch
    total = sums.total + sums.penalty * sums.count
    records: Records = {"loss": Mean(tf.cast(total, tf.float64), tf.cast(sums.count, tf.float64))}
    for name, metric in (metrics or {}).items():
        records[name] = as_metric(metric).from_model_output(y, forward.y_pred, *weight)
    return records
