"""The state of training, and the options of a step: `TrainState` and `StepConfig`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

import tensorflow as tf

from trainlib.constraints import Constraint
from trainlib.core.types import Optimizer, State, Tensor, Tree
from trainlib.losses import Loss, LossByOutput
from trainlib.metrics import ExampleMetric, Metric, OutputMetric
from trainlib.regularizers import Regularizer
from trainlib.step.averages import check_average, init_average
from trainlib.step.finite_guard import init_finite_guard
from trainlib.step.loss_scale import LossScale, check_loss_scale

Batch: TypeAlias = tuple[Any, ...]
"""`(x, y)` or `(x, y, sample_weight)`."""
MetricStates: TypeAlias = dict[str, Any]
"""The states of the loss, a `Mean`, and of the metrics, by name; see `trainlib.metrics`."""
AllReduce: TypeAlias = Callable[[Tree], Tree]
"""A function that sums a structure of tensors over all replicas; leaves of None stay None."""
Observer: TypeAlias = Callable[[str, Tree], None]
"""A function that a step calls with the name and the value of an intermediate result."""
NORMS = ("gradient_norm", "update_norm")
"""The names of the metric states that `StepConfig.norms` adds."""


class TrainState(NamedTuple):
    """The complete state of training.

    Attributes:
        step: batches trained on, without those of skipped steps, int64 []. With `accumulate` an
            update takes several.
        params: the trained tensors, any structure.
        model_state: the model's other tensors, such as batch statistics and dropout seeds.
        opt_state: the state of the optimizer.
        loss_scale: a `LossScaleState`; `()` where the loss is not scaled.
        finite_guard: a `FiniteGuardState`; `()` where steps are not tested.
        seed: the seed of the order of examples, int64 [].
        average: the state of `StepConfig.average`; `()` where nothing is averaged.

    Example:
        >>> state = tl.init_state({"w": tf.ones([2])}, (), tl.adam(1e-3), seed=7)
        >>> int(state.step), int(state.seed), state.loss_scale
        (0, 7, ())
    """

    step: Tensor
    params: Tree
    model_state: Tree
    opt_state: State
    loss_scale: State
    finite_guard: State
    seed: Tensor
    average: State = ()


class Part(NamedTuple):
    """One replica's part of a batch.

    Attributes:
        rows: number of examples in the largest part.
        present: bools [examples], False for padding: a replica without examples gets one row that
            is not counted. None: all examples are counted.
        weighted: whether the examples of the batch have weights.
    """

    rows: int
    present: Tensor | None = None
    weighted: bool = False


class ModelOutput(NamedTuple):
    """Result of a model function.

    Attributes:
        y_pred: the predictions, any structure.
        model_state: the new model state, in the structure of the old one. Default: `()`.
        penalty: a scalar that is added to the mean loss. Default: 0.
        mask: which values of y_pred count in the loss and in the metrics: bools of the shape of its
            first axes, in the structure of y_pred, with None for an output without a mask. Default:
            None, all of them.
        params: the parameters, where the model itself assigned to some of them; the update is added
            to these. Default: None, it did not.
        part: on several replicas, the part of the batch that y_pred belongs to; set by a `Trainer`.
            Default: None.

    Example:
        >>> def apply_fn(params, model_state, x, training):
        ...     return tl.ModelOutput(x @ params["w"], model_state)
        >>> apply_fn({"w": tf.ones([2, 1])}, (), tf.ones([3, 2]), training=False).y_pred.shape
        TensorShape([3, 1])
    """

    y_pred: Tensor
    model_state: Tree = ()
    penalty: Tensor = 0.0
    mask: Tree = None
    params: Tree = None
    part: Part | None = None


ApplyFn: TypeAlias = Callable[..., ModelOutput]
"""A model as a pure function: `(params, model_state, x, training) -> ModelOutput`."""


@dataclass(frozen=True)
class StepConfig:
    """Configuration of a training step.

    Attributes:
        apply_fn: the model, `(params, model_state, x, training) -> ModelOutput`.
        loss_fn: `(y_true, y_pred) -> loss of each example`. The sum of the weighted losses of a
            batch is divided by the sum of the weights; a function with an attribute `reduction`,
            such as those of `loss_from_keras`, is reduced as by Keras. Or a `LossByOutput`, for a
            model of several outputs.
        optimizer: turns gradients into updates; None for evaluation only.
        metrics: the metrics by name: each a `Metric`, a function `(y_true, y_pred) -> value of each
            example`, which is averaged, or an `OutputMetric`, one of these for one output. "loss"
            is always reported and is not listed here. Default: none.
        regularizer: `params -> penalty`, added to the mean loss. Default: None.
        loss_scale: result of `dynamic_loss_scale` or `static_loss_scale`, for float16. Steps whose
            gradients are not finite are then skipped, and left out of the metric states. Default:
            None.
        finite_guard: whether a step whose loss or gradients are not finite is skipped, and left out
            of the metric states. The new parameters are not tested, which would take a pass over
            them: `tl.first_nonfinite(state.params)` does. Default: False.
        norms: whether the metric states hold "gradient_norm", the norm of the gradients that the
            optimizer takes, and "update_norm", of the updates that it returns, each over all
            parameters together, as means over the steps that are not skipped. Default: False.
        constraints: functions that are applied to parameters after each update, such as
            `tl.non_neg()`, by path of the parameter. They follow the constraints and averages of
            the optimizer; under `accumulate` they are applied only when an update is made. Default:
            none.
        average: `tl.ema(...)` or `tl.swa(...)`, which averages the parameters after the update and
            the constraints. A `Trainer` evaluates the average; `eval_step` and `predict_step` take
            the parameters of the state that they get, see `averaged_weights`. Default: None.
        averaged_state: keys of the model state that are averaged too, such as the statistics of
            batch normalization. Default: none.

    Raises:
        ValueError: a metric has the name of a loss, or with `norms` of a norm; `average` is another
            optimizer than those of `ema` and `swa`.
        TypeError: `loss_scale` is neither None nor a `LossScale`, `average` is no `Optimizer`, or
            the loss or a metric is an object of Keras.

    Example:
        >>> config = tl.StepConfig(
        ...     lambda params, model_state, x, training: tl.ModelOutput(x @ params),
        ...     tl.losses.mean_squared_error, tl.sgd(0.125))
        >>> state = tl.init_state(tf.zeros([2, 1]), (), config.optimizer)
        >>> state, metrics = tl.train_step(config)(state, (tf.ones([4, 2]), tf.ones([4, 1])))
        >>> float(metrics["loss"].compute()), state.params.numpy().tolist()
        (1.0, [[0.25], [0.25]])
    """

    apply_fn: ApplyFn
    loss_fn: Loss | LossByOutput
    optimizer: Optimizer | None = None
    metrics: Mapping[str, Metric | ExampleMetric | OutputMetric] = field(default_factory=dict)
    regularizer: Regularizer | None = None
    loss_scale: LossScale | None = None
    finite_guard: bool = False
    norms: bool = False
    constraints: Mapping[str, Constraint] = field(default_factory=dict)
    average: Optimizer | None = None
    averaged_state: Sequence[str] = ()

    def __post_init__(self) -> None:
        check_loss_scale(self.loss_scale)
        by_output = isinstance(self.loss_fn, LossByOutput)
        if not (by_output or callable(self.loss_fn)) or hasattr(self.loss_fn, "get_config"):
            raise TypeError(
                f"loss_fn must be a function (y_true, y_pred), got {self.loss_fn!r}; "
                "tl.loss_from_keras converts a loss of Keras"
            )
        for name, metric in self.metrics.items():
            if hasattr(metric, "stateless_update_state"):
                raise TypeError(
                    f"metric {name!r} must be a Metric or a function (y_true, y_pred), got "
                    f"{metric!r}; tl.metric_from_keras converts a metric of Keras"
                )
        if self.average is not None:
            check_average(self.average)
        by_name = self.loss_fn.result_names if isinstance(self.loss_fn, LossByOutput) else {}
        reserved = ("loss", *by_name.values(), *(NORMS if self.norms else ()))
        for name in reserved:
            if name in self.metrics:
                raise ValueError(
                    f"metrics must not use the name {name!r} of another result: rename"
                )

    @property
    def skips_nonfinite(self) -> bool:
        """Whether the step has a finite guard: it is on with every loss scale."""
        return self.finite_guard or self.loss_scale is not None


def init_state(
    params: Tree,
    model_state: Tree,
    optimizer: Optimizer | None,
    seed: int = 0,
    *,
    loss_scale: LossScale | None = None,
    finite_guard: bool = False,
    average: Optimizer | None = None,
    averaged_state: Sequence[str] = (),
) -> TrainState:
    """Return the training state before the first step.

    Args:
        params: the trained tensors, any structure.
        model_state: the model's other tensors; `()` if there are none.
        optimizer: as in `StepConfig`; None leaves its state empty.
        seed: seed of the order of examples, an integer of at least 0. Default: 0.
        loss_scale: as in `StepConfig`. Default: None.
        finite_guard: as in `StepConfig`. Default: False.
        average: as in `StepConfig`. Default: None.
        averaged_state: as in `StepConfig`. Default: none.

    Returns:
        A `TrainState` at step 0.

    Raises:
        TypeError: `loss_scale` is neither None nor a `LossScale`.

    Example:
        >>> state = tl.init_state([tf.ones([2])], (), tl.sgd(0.1), finite_guard=True)
        >>> int(state.step), int(state.finite_guard.skipped)
        (0, 0)
    """
    check_loss_scale(loss_scale)
    return TrainState(
        step=tf.zeros([], tf.int64),
        params=params,
        model_state=model_state,
        opt_state=() if optimizer is None else optimizer.init(params),
        loss_scale=() if loss_scale is None else loss_scale.init(),
        finite_guard=init_finite_guard() if finite_guard or loss_scale is not None else (),
        seed=tf.constant(seed, tf.int64),
        average=init_average(average, params, model_state, averaged_state),
    )


def optimizer_of(config: StepConfig) -> Optimizer:
    """Return the optimizer of a config, and raise `ValueError` if it has none."""
    if config.optimizer is None:
        raise ValueError("optimizer is None: give StepConfig an optimizer such as tl.adam()")
    return config.optimizer


def check_state_fits(config: StepConfig, state: TrainState) -> None:
    """Raise `ValueError` unless the state has the config's loss scale, guard and average."""
    if (state.average == ()) != (config.average is None):
        raise ValueError("init_state and StepConfig must be given the same average")
    expected = config.loss_scale is not None, config.skips_nonfinite
    if (state.loss_scale != (), state.finite_guard != ()) != expected:
        raise ValueError(
            "init_state and StepConfig must be given the same loss_scale and finite_guard: the "
            f"state has {_kind(state.loss_scale)} and {_kind(state.finite_guard)}, the step has "
            f"loss_scale={_kind(config.loss_scale)} and finite_guard={config.finite_guard}"
        )


def _kind(x: Any) -> str:
    """Return the name of a type for an error message; "none" for None and `()`."""
    return "none" if x is None or x == () else type(x).__name__
