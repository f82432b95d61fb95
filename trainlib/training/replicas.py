"""Loops of steps on several replicas: each holds the state and takes a part of each batch."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from trainlib.core.types import Tensor, Tree
from trainlib.losses import Loss, LossByOutput
from trainlib.metrics import merge
from trainlib.step.evaluation import PartResult, part_eval_step, whole_batch_states
from trainlib.step.state import ApplyFn, Batch, MetricStates, Part, TrainState
from trainlib.training.batch_statistics import has_batch_norm
from trainlib.training.collectives import all_reduce
from trainlib.training.devices import (
    CompiledParts,
    EvalStep,
    Loop,
    LoopCondition,
    OneDevice,
    TrainStep,
    loop_condition,
    slice_batch,
    zero_absent,
)
from trainlib.training.execution import evaluates_in_graph
from trainlib.training.functional_model import FunctionalModel
from trainlib.training.replicated_model import replicated
from trainlib.training.strategies import local_replicas
from trainlib.training.variables import assign_changed, assign_values, read_values

HOST = "/device:CPU:0"
"""The device on which batches are gathered: a replica gets copies of its rows only."""


class Replicas(OneDevice):
    """The devices of a strategy: each holds the state and takes a part of each batch.

    A batch is cut into parts, one per replica, whose sizes differ by at most one example; a replica
    without any takes the first example with weight 0. Metric states have a row for each replica.
    XLA cannot compile a sum over replicas: "xla" compiles the parts of a step before and after it.

    Args:
        strategy: the `tf.distribute.Strategy`, from `mirrored` or `multi_worker`.
        sums_within: whether computing the gradients includes sums over replicas, as in batch
            normalization, or for the losses of several outputs. Default: False.
    """

    all_reduce = staticmethod(all_reduce)
    eval_step = staticmethod(part_eval_step)

    def __init__(self, strategy: Any, sums_within: bool = False) -> None:
        super().__init__()
        self.strategy, self._sums_within = strategy, sums_within
        self.count: int = strategy.num_replicas_in_sync

    def wrap(self, apply_fn: ApplyFn) -> ApplyFn:
        return replicated(apply_fn)

    def place(self, state: TrainState) -> Any:
        """Return the state as variables with a copy on each device; each replica assigns its own.

        Outside `strategy.run`, reading one reads the first copy and assigning assigns all.
        """
        with self.strategy.scope():
            return tf.nest.map_structure(lambda x: tf.Variable(x, trainable=False), state)

    def compiles_loops(self, execution: str) -> bool:
        return False

    def compiled_parts(self, execution: str) -> CompiledParts:
        return CompiledParts(
            gradients=execution == "xla" and not self._sums_within, update=execution != "graph"
        )

    def train_loop(
        self, step: TrainStep, variables: Any, batch_size: int, halts: bool = False
    ) -> Loop:
        one_step = self._train_part(step, variables, batch_size)
        return self._loop(one_step, batch_size, loop_condition(variables, halts))

    def eval_loop(self, step: EvalStep, variables: Any, batch_size: int) -> Loop:
        """Return a loop of evaluation steps on equal parts of the batches, without padding.

        The examples that are left over are evaluated on every replica and counted on the first.
        """
        rest = batch_size % self.count

        def evaluated(batch: Batch) -> PartResult:
            old = read_values(variables)
            new, found = step(old, batch)
            assign_changed(variables, old, new)
            result: PartResult = found
            return result

        def one_step(
            examples: Tree, at: Tensor, stop: Tensor, last: Tensor, metric_states: MetricStates
        ) -> MetricStates:
            parts = []
            if batch_size > rest:
                parts.append(evaluated(self._part(examples, at, batch_size - rest)))
            if rest:
                left = slice_batch(examples, at + batch_size - rest, rest)
                parts.append(_of_first_replica(evaluated(left)))
            merged: MetricStates = merge(metric_states, whole_batch_states(parts, all_reduce))
            return merged

        return self._loop(one_step, batch_size, loop_condition())

    def gradients(
        self, step: Callable[[TrainState, Batch], Tree], variables: Any, batch_size: int
    ) -> Callable[..., Tree]:
        def one_step(examples: Tree, at: Tensor) -> Tree:
            return step(read_values(variables), self._train_batch(examples, at, batch_size))

        def run(examples: Tree, at: Tensor) -> Tree:
            grads = tf.nest.flatten(self.strategy.run(one_step, (examples, at)))
            local = self.strategy.experimental_local_results
            first = [None if g is None else local(g)[0] for g in grads]  # the same on all replicas
            return tf.nest.pack_sequence_as(variables.params, first)

        return run

    def single_step(
        self, step: TrainStep, variables: Any, metric_states: MetricStates, batch_size: int
    ) -> Callable[[Batch], MetricStates]:
        one_step, last = self._train_part(step, variables, batch_size), tf.constant(False)
        at = tf.constant(0, tf.int64)

        def run(batch: Batch) -> Any:
            row = self.strategy.run(_replica_row, (metric_states,))
            return self.strategy.run(one_step, (batch, at, at, last, row))

        return run

    def local_rows(self, batch_size: int) -> np.ndarray:
        parts = [part_rows(i, self.count, batch_size) for i in local_replicas(self.strategy)]
        return np.unique(np.concatenate(parts))

    def expand(self, metric_states: MetricStates) -> MetricStates:
        rows: MetricStates = tf.nest.map_structure(
            lambda x: tf.zeros([self.count, *x.shape], x.dtype), metric_states
        )
        return rows

    def total(self, metric_states: MetricStates) -> MetricStates:
        sums: MetricStates = tf.nest.map_structure(lambda x: tf.reduce_sum(x, 0), metric_states)
        return sums

    def _train_part(
        self, step: TrainStep, variables: Any, batch_size: int
    ) -> Callable[..., MetricStates]:
        """Return a step on a replica's part of the batch at a position, to be run on each."""

        def one_step(
            examples: Tree, at: Tensor, stop: Tensor, last: Tensor, metric_states: MetricStates
        ) -> MetricStates:
            batch = self._train_batch(examples, at, batch_size)
            state, new = step(read_values(variables), batch, last & (at + batch_size >= stop))
            assign_values(variables, state)
            merged: MetricStates = merge(metric_states, new)
            return merged

        return one_step

    def _train_batch(self, examples: Tree, at: Tensor, batch_size: int) -> Batch:
        """Return this replica's part of the batch at a position, as `replicated` takes it."""
        x, *rest = batch = self._part(examples, at, batch_size)
        present, weighted = None, len(rest) > 1
        if batch_size < self.count:
            present = tf.constant([_replica() < batch_size])
            x, *rest = zero_absent(batch, present)
        return (x, Part(-(-batch_size // self.count), present, weighted)), *rest

    def _part(self, examples: Tree, at: Tensor, batch_size: int) -> Batch:
        """Return this replica's examples of the batch that begins at `at`."""
        part = part_rows(_replica(), self.count, batch_size)
        rows = at + part.start + tf.range(len(part), dtype=tf.int64)
        with tf.device(HOST):
            batch: Batch = tf.nest.map_structure(lambda a: tf.gather(a, rows), examples)
            return batch

    def _loop(
        self, one_step: Callable[..., MetricStates], batch_size: int, make_condition: LoopCondition
    ) -> Loop:
        """Return the loop around `one(examples, at, stop, last, metric_states)` on each replica.

        It is outside `strategy.run`, which allows no loop around a sum over replicas. Each replica
        continues with its own row of the metric states: so the order of their sums, and with it the
        rounding, does not depend on how many steps a call makes.
        """

        def run(
            examples: Tree, start: Tensor, stop: Tensor, last: Tensor, metric_states: MetricStates
        ) -> MetricStates:
            def body(at: Tensor, row: Any) -> tuple[Tensor, Any]:
                return at + batch_size, self.strategy.run(one_step, (examples, at, stop, last, row))

            first = self.strategy.run(_replica_row, (metric_states,))
            condition = make_condition(start, stop)
            row = tf.while_loop(lambda at, _: condition(at), body, (start, first))[1]
            rows = self.strategy.run(functools.partial(_as_rows, self.count), (row,))
            all_rows: MetricStates = tf.nest.map_structure(
                lambda x: self.strategy.reduce("SUM", x, axis=None), rows
            )
            return all_rows

        return run


def devices_for(strategy: Any, model: Any, loss: Loss | LossByOutput) -> OneDevice:
    """Return the devices that run the steps of a model; one device if the strategy is None."""
    if strategy is None:
        return OneDevice(open_rows=evaluates_in_graph(model))
    batch_norm = not isinstance(model, FunctionalModel) and has_batch_norm(model)
    return Replicas(strategy, batch_norm or isinstance(loss, LossByOutput))


def part_rows(replica: int, count: int, batch_size: int) -> range:
    """Return the rows of a batch that one of `count` replicas takes; the first if it has none."""
    if replica >= batch_size:
        return range(1)
    size, more = divmod(batch_size, count)
    first = replica * size + min(replica, more)
    return range(first, first + size + (replica < more))


def _replica() -> int:
    """Return the index of the replica that is traced: each is traced by itself."""
    index = tf.get_static_value(tf.distribute.get_replica_context().replica_id_in_sync_group)
    return int(index)


def _replica_row(metric_states: MetricStates) -> MetricStates:
    """Return this replica's metric states."""
    replica = tf.distribute.get_replica_context().replica_id_in_sync_group
    row: MetricStates = tf.nest.map_structure(lambda x: x[replica], metric_states)
    return row


def _of_first_replica(result: PartResult) -> PartResult:
    """Return the result on the first replica, and that of no examples on the others."""
    first = tf.distribute.get_replica_context().replica_id_in_sync_group == 0
    kept: PartResult = tf.nest.map_structure(lambda x: tf.where(first, x, tf.zeros_like(x)), result)
    return kept


def _as_rows(replicas: int, metric_states: MetricStates) -> MetricStates:
    """Return rows for all replicas, which are 0 except this one's."""
    replica = tf.distribute.get_replica_context().replica_id_in_sync_group

    def place(x: Tensor) -> Tensor:
        mine = tf.reshape(tf.range(replicas) == replica, [-1] + [1] * x.shape.rank)
        return tf.where(mine, x[None], tf.zeros_like(x))

    rows: MetricStates = tf.nest.map_structure(place, metric_states)
    return rows
