"""Loops of steps on one device; `replicas.py` has the same loops on several.

A loop takes the examples of a chunk, the positions at which its batches start and stop, and metric
states. It returns these metric states with those of the batches added.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import tensorflow as tf

from trainlib.core.tree import check_same_structure
from trainlib.core.types import Tensor, Tree
from trainlib.metrics import merge
from trainlib.step.evaluation import stateful_eval_step
from trainlib.step.state import AllReduce, ApplyFn, Batch, MetricStates, StepConfig, TrainState
from trainlib.training.variables import assign_changed, assign_values, read_values

Loop: TypeAlias = Callable[..., MetricStates]
"""`(examples, start, stop, last, metric_states) -> metric_states`, to be traced."""
TrainStep: TypeAlias = Callable[..., tuple[TrainState, MetricStates]]
"""`(state, batch, last) -> (state, metric_states)`, as `train_step` makes it."""
EvalStep: TypeAlias = Callable[[TrainState, Batch], tuple[TrainState, Any]]
"""`(state, batch) -> (state, result)`, as the `eval_step` of the devices makes it."""
LoopCondition: TypeAlias = Callable[[Tensor, Tensor], Callable[[Tensor], Tensor]]
"""`(start, stop) -> (position -> whether the loop continues)`, as `loop_condition` makes it."""


class CompiledParts(NamedTuple):
    """The parts of a step that XLA compiles separately.

    Attributes:
        gradients: the model, its loss and their gradients.
        update: the optimizer's update.
    """

    gradients: bool
    update: bool


class OneDevice:
    """A device that holds the state, and the loops of steps on it.

    Args:
        open_rows: whether evaluation and prediction are graphs for batches of all sizes.
            Default: False.
        compiles_last_batch: whether XLA compiles training steps on a smaller last batch too.
            Default: True.

    Attributes:
        open_rows, compiles_last_batch: as above.
        all_reduce: function that sums a structure over the replicas; None for one device.
        eval_step: function `StepConfig -> step` that makes the step for `eval_loop`.
    """

    all_reduce: AllReduce | None = None
    eval_step: Callable[[StepConfig], EvalStep] = staticmethod(stateful_eval_step)

    def __init__(self, open_rows: bool = False, compiles_last_batch: bool = True) -> None:
        self.open_rows, self.compiles_last_batch = open_rows, compiles_last_batch

    def wrap(self, apply_fn: ApplyFn) -> ApplyFn:
        """Return the model's function as `train_step` calls it here."""
        return apply_fn

    def place(self, state: TrainState) -> Any:
        """Return the state as variables."""
        return tf.nest.map_structure(tf.Variable, state)

    def compiles_loops(self, execution: str) -> bool:
        """Return whether XLA compiles a whole loop of steps."""
        return execution == "xla"

    def compiled_parts(self, execution: str) -> CompiledParts:
        """Return the parts of a step that XLA compiles separately."""
        return CompiledParts(gradients=False, update=execution == "xla_update")

    def train_loop(
        self, step: TrainStep, variables: Any, batch_size: int, halts: bool = False
    ) -> Loop:
        """Return a loop of training steps.

        Args:
            step: the training step.
            variables: the state, from `place`.
            batch_size: number of examples of each batch.
            halts: whether the loop ends after a skipped step if no lower loss scale is left.
        """

        def one_step(batch: Batch, end: Tensor, stop: Tensor, last: Tensor) -> MetricStates:
            state, new = step(read_values(variables), batch, last & (end >= stop))
            assign_values(variables, state)
            return new

        return _loop(one_step, batch_size, loop_condition(variables, halts))

    def eval_loop(self, step: EvalStep, variables: Any, batch_size: int) -> Loop:
        """Return a loop of evaluation steps, which assigns the states that they return."""

        def one_step(batch: Batch, end: Tensor, stop: Tensor, last: Tensor) -> MetricStates:
            old = read_values(variables)
            new, result = step(old, batch)
            assign_changed(variables, old, new)
            metric_states: MetricStates = result
            return metric_states

        return _loop(one_step, batch_size, loop_condition(), self.open_rows)

    def gradients(
        self, step: Callable[[TrainState, Batch], Tree], variables: Any, batch_size: int
    ) -> Callable[..., Tree]:
        """Return `(examples, position) -> grads` of the batch that begins at the position."""
        return lambda examples, at: step(
            read_values(variables), slice_batch(examples, at, batch_size)
        )

    def single_step(
        self, step: TrainStep, variables: Any, metric_states: MetricStates, batch_size: int
    ) -> Callable[[Batch], MetricStates]:
        """Return one training step without a loop around it: `batch -> metric_states`."""

        def one_step(batch: Batch) -> MetricStates:
            with tf.name_scope("read"):
                old = read_values(variables)
            state, new = step(old, batch)
            with tf.name_scope("write"):
                assign_values(variables, state)
            merged: MetricStates = merge(metric_states, new)
            return merged

        return one_step

    def local_rows(self, batch_size: int) -> np.ndarray:
        """Return the rows of a training batch that this process reads, in ascending order."""
        return np.arange(batch_size)

    def expand(self, metric_states: MetricStates) -> MetricStates:
        """Return empty metric states in the form that the loops take and return."""
        return metric_states

    def total(self, metric_states: MetricStates) -> MetricStates:
        """Return the metric states of a loop, summed over the replicas."""
        return metric_states


def loop_condition(variables: Any = None, halts: bool = False) -> LoopCondition:
    """Return the condition of a loop of steps from `start` up to `stop`.

    Args:
        variables: the state, needed if the loop halts.
        halts: whether the loop ends after a skipped step if no lower loss scale is left. The first
            step of a loop is made even if the last step of the one before was skipped.
    """

    def between(start: Tensor, stop: Tensor) -> Callable[[Tensor], Tensor]:
        def condition(at: Tensor) -> Tensor:
            if not halts:
                return at < stop
            return (at < stop) & ((at == start) | ~variables.finite_guard.exhausted.read_value())

        return condition

    return between


def _loop(
    one_step: Callable[..., MetricStates],
    batch_size: int,
    make_condition: LoopCondition,
    open_rows: bool = False,
) -> Loop:
    """Return a loop over the batches of a chunk; with open rows the last one may be smaller.

    The position is a variable of the loop: XLA would take a slice that begins at an argument for
    one that begins at a constant, and compile again for each of its values. Equal contributions of
    all steps to the metric states, such as the number of examples, are added once after the loop.
    """

    def run(
        examples: Tree, start: Tensor, stop: Tensor, last: Tensor, metric_states: MetricStates
    ) -> MetricStates:
        of_each_step: list[float | None] = []

        def body(at: Tensor, states: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
            end = at + batch_size
            rows = tf.minimum(stop - at, batch_size) if open_rows else batch_size
            new = one_step(slice_batch(examples, at, rows), end, stop, last)
            check_same_structure("metric states", metric_states, "those of a step", new)
            added = tf.nest.flatten(new)
            of_each_step[:] = [None if open_rows else _number(x) for x in added]
            sums = zip(states, added, of_each_step, strict=True)
            return end, [x + y if number is None else x for x, y, number in sums]

        condition = make_condition(start, stop)
        flat = tf.nest.flatten(metric_states)
        at, flat = tf.while_loop(lambda at, _: condition(at), body, (start, flat))
        steps = (at - start) // batch_size
        totals = [
            x if number is None else x + number * tf.cast(steps, x.dtype)
            for x, number in zip(flat, of_each_step, strict=True)
        ]
        merged: MetricStates = tf.nest.pack_sequence_as(metric_states, totals)
        return merged

    return run


def _number(x: Tensor) -> float | None:
    """Return the value of a scalar that is the same in each run of a graph, if it is an integer.

    Sums of integers in float64 are exact: a product is the same number. None for other tensors.
    """
    if not tf.is_symbolic_tensor(x) or x.dtype != tf.float64 or x.shape.rank != 0:
        return None
    value = tf.get_static_value(x)
    return float(value) if value is not None and float(value).is_integer() else None


def slice_batch(examples: Tree, at: Tensor, size: int | Tensor) -> Tree:
    """Return `size` examples from a position on."""

    def slice_one(a: Tensor) -> Tensor:
        other_axes = [tf.constant(0, tf.int64)] * (a.shape.rank - 1)
        sizes = [-1 if n is None else n for n in a.shape[1:]]
        return tf.slice(a, tf.stack([at, *other_axes]), [size, *sizes])

    return tf.nest.map_structure(slice_one, examples)


def zero_absent(batch: Batch, present: Tensor) -> Batch:
    """Return the batch with weight 0 for rows that are not present; `present` is bools [rows]."""
    x, y, *weight = batch
    if not weight:
        return x, y, tf.cast(present, tf.float32)

    def zero(w: Tensor) -> Tensor:
        rows = tf.reshape(present, [-1] + [1] * (w.shape.rank - 1))
        return tf.where(rows, w, tf.zeros_like(w))

    return x, y, tf.nest.map_structure(zero, weight[0])
