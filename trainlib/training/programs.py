"""What runs on the device: the state in variables, and compiled loops of steps over it."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf

from trainlib.core.types import Optimizer, Tensor, Tree
from trainlib.losses import Loss
from trainlib.metrics import ExampleMetric, Mean, Metric, as_metric, merge
from trainlib.metrics.inputs import num_columns
from trainlib.regularizers import Regularizer
from trainlib.step.evaluation import eval_step, predict_step
from trainlib.step.gradients import compute_gradients, reduce_gradients
from trainlib.step.loss_scale import LossScale, unscale_grads
from trainlib.step.state import (
    NORMS,
    Batch,
    MetricStates,
    Reduce,
    StepConfig,
    TrainState,
    init_state,
)
from trainlib.step.train import train_step
from trainlib.training import replicas
from trainlib.training.batch_statistics import has_batch_statistics
from trainlib.training.functional_model import FunctionalModel
from trainlib.training.variables import assign, read


class Programs:
    """The compiled functions of a model on one device, each made at its first use.

    variables: the `TrainState`. traces: how many functions were traced. train_step: as the loops
    make it, with the arguments that are still free. whole_step: on the whole batch, whatever there
    are replicas.

    Args:
        model: as a pure function.
        loss: of each example.
        optimizer: makes updates of gradients.
        metrics: by name.
        regularizer: `params -> penalty`.
        loss_scale: as of `StepConfig`.
        seed: of the order of examples.
        norms: as of `StepConfig`.
        finite_guard: as of `StepConfig`.
        halts: whether a loop of steps ends behind one that was skipped for want of a lower scale.
    """

    def __init__(
        self,
        model: FunctionalModel,
        loss: Loss,
        optimizer: Optimizer,
        metrics: Mapping[str, Metric | ExampleMetric],
        regularizer: Regularizer | None,
        loss_scale: LossScale | None,
        seed: int,
        norms: bool = False,
        finite_guard: bool = False,
        halts: bool = False,
    ) -> None:
        self.metrics, self._norms, self.halts = metrics, norms, halts
        self.traces = 0
        whole = StepConfig(
            model.apply_fn, loss, optimizer, metrics, regularizer, loss_scale, finite_guard
        )
        self._config = dataclasses.replace(whole, apply_fn=self._on_device(model), norms=norms)
        self.train_step = functools.partial(train_step, self._config)
        self.whole_step = functools.partial(train_step, whole)
        self._eval_step = eval_step(whole)
        self._predict_step = predict_step(model.apply_fn)
        self.variables: Any = self._placed(
            init_state(
                model.params,
                model.model_state,
                optimizer,
                seed,
                loss_scale=loss_scale,
                finite_guard=finite_guard,
            )
        )
        self._compiled: dict[tuple[str, int, str, str], Callable[..., Any]] = {}

    def train(self, execution: str, rows: int, specs: Tree) -> Callable[..., MetricStates]:
        """`(examples, start, stop, last, records) -> records`: steps on batches of so many rows.

        The batches lie in the examples from position `start` up to `stop`, which with `last` ends
        the epoch.
        """
        return self._program("train", execution, rows, specs)

    def evaluate(self, execution: str, rows: int, specs: Tree) -> Callable[..., MetricStates]:
        """The same without updates, in inference mode; examples behind `stop` do not count."""
        return self._program("evaluate", execution, rows, specs)

    def predict(self, execution: str, specs: Tree) -> Any:
        """`x -> y_pred`, in inference mode."""
        return self._program("predict", execution, 0, specs)

    def gradients(self, rows: int, specs: Tree) -> Callable[..., Tree]:
        """`(examples, at) -> grads` of the batch of so many rows that begins at position `at`."""
        key = "gradients", rows, "graph", repr(specs)
        if key not in self._compiled:
            signature = [specs, tf.TensorSpec([], tf.int64)]
            run = self._gradients(rows)
            self._compiled[key] = tf.function(run, input_signature=signature, autograph=False)
        return self._compiled[key]

    def step_graph(self, rows: int, specs: Tree) -> Any:
        """The graph of one training step on a batch of so many rows, to be looked at."""
        batch = tf.nest.map_structure(lambda s: tf.TensorSpec([rows, *s.shape[1:]], s.dtype), specs)
        records = self.no_records("graph", specs, training=True)
        step = self._one_step(records, rows)
        function: Any = tf.function(step, input_signature=[batch], autograph=False)
        return function.get_concrete_function().graph

    def no_records(self, execution: str, specs: Tree, training: bool = False) -> MetricStates:
        """The records of no examples, of the shapes that predictions for such data need."""
        by_sums = not any(isinstance(metric, Metric) for metric in self.metrics.values())
        outputs = 1 if by_sums else self._outputs(execution, specs[:1])
        return self.records_structure(outputs, training)

    def records_structure(self, outputs: int = 1, training: bool = False) -> MetricStates:
        """The records of no examples, for so many outputs of the model."""
        zeros = {name: as_metric(m).empty(outputs) for name, m in self.metrics.items()}
        norms = {name: Mean.empty() for name in NORMS if training and self._norms}
        return {"loss": Mean.empty()} | zeros | norms

    def merged(self, records: MetricStates) -> MetricStates:
        """The records of all replicas together."""
        return records

    def read(self) -> TrainState:
        """The state, as tensors."""
        state: TrainState = read(self.variables)
        return state

    def _program(self, kind: str, execution: str, rows: int, specs: Tree) -> Callable[..., Any]:
        """The number of examples is left open: another data set of the same kind traces nothing."""
        key = kind, rows, execution, repr(specs)
        if key not in self._compiled:
            make = {"train": self._train_loop, "evaluate": self._eval_loop}.get(kind)
            run = make(execution, rows) if make else self._predict_rows
            training = kind == "train"
            self._compiled[key] = tf.function(
                self._counting_traces(run),
                input_signature=self._loop_signature(execution, specs, training) if make else specs,
                jit_compile=self._compiles_loops(execution),
                autograph=False,
            )
        return self._compiled[key]

    def _loop_signature(self, execution: str, specs: Tree, training: bool) -> list[Any]:
        position = tf.TensorSpec([], tf.int64)
        records = tf.nest.map_structure(
            lambda x: tf.TensorSpec(x.shape, x.dtype), self.no_records(execution, specs, training)
        )
        return [specs, position, position, tf.TensorSpec([], tf.bool), records]

    def _counting_traces(self, run: Callable[..., Any]) -> Callable[..., Any]:
        def traced(*args: Any) -> Any:
            self.traces += 1
            return run(*args)

        return traced

    def _on_device(self, model: FunctionalModel) -> Any:
        return model.apply_fn

    def _placed(self, state: TrainState) -> Any:
        return tf.nest.map_structure(tf.Variable, state)

    def _compiles_loops(self, execution: str) -> bool:
        return execution == "xla"

    def _train_loop(self, execution: str, batch_size: int) -> Callable[..., Any]:
        step = self.train_step(compile_update=execution == "xla_update")

        def one(batch: Batch, end: Tensor, stop: Tensor, last: Tensor) -> MetricStates:
            state, records = step(read(self.variables), batch, last & (end >= stop))
            assign(self.variables, state)
            return records

        return _loop(one, batch_size, replicas.loop_condition(self.variables, self.halts))

    def _eval_loop(self, execution: str, batch_size: int) -> Callable[..., Any]:
        def one(batch: Batch, end: Tensor, stop: Tensor, last: Tensor) -> MetricStates:
            present = end - batch_size + tf.range(batch_size, dtype=tf.int64) < stop
            return self._eval_step(read(self.variables), replicas.fill_weights(batch, present))

        return _loop(one, batch_size, replicas.loop_condition())

    def _gradient_step(self, reduce: Reduce | None) -> Callable[[TrainState, Batch], Tree]:
        """Return `(state, batch) -> grads`, those that the optimizer is given in a step."""
        config = dataclasses.replace(self._config, metrics={}, finite_guard=False)

        def step(state: TrainState, batch: Batch) -> Tree:
            gradients = compute_gradients(config, state, batch, is_part=reduce is not None)
            if reduce is not None:
                gradients = reduce_gradients(gradients, reduce)
            return unscale_grads(gradients.grads, state.loss_scale)

        return step

    def _gradients(self, batch_size: int) -> Callable[..., Tree]:
        step = self._gradient_step(None)
        return lambda examples, at: step(read(self.variables), _slice(examples, at, batch_size))

    def _one_step(self, records: MetricStates, batch_size: int) -> Callable[[Batch], MetricStates]:
        step = self.train_step()

        def one(batch: Batch) -> MetricStates:
            with tf.name_scope("read"):
                old = read(self.variables)
            state, new = step(old, batch)
            with tf.name_scope("write"):
                assign(self.variables, state)
            merged: MetricStates = merge(records, new)
            return merged

        return one

    def _predict_rows(self, x: Tree) -> Tensor:
        return self._predict_step(read(self.variables), x)

    def _outputs(self, execution: str, x: Tree) -> int:
        """The length of the last axis of the predictions for such x, 1 where they have none."""
        y_pred = self.predict(execution, x).get_concrete_function().structured_outputs
        if tf.nest.is_nested(y_pred):
            names = [name for name, m in self.metrics.items() if isinstance(m, Metric)]
            raise ValueError(f"metrics {', '.join(names)} need a model of one output")
        return num_columns(y_pred) if y_pred.shape.rank > 1 else 1


class ReplicatedPrograms(Programs):
    """The same on several replicas, each of which holds the state and takes a part of each batch.

    XLA cannot compile what sums over replicas: "xla" compiles the parts of a step before and
    behind the sum.

    Args:
        strategy: of `trainlib.training.replicas`.
        statistics: whether the model itself sums over replicas, in batch normalization.
    """

    def __init__(self, strategy: Any, statistics: bool, *args: Any) -> None:
        self.strategy, self._statistics = strategy, statistics
        super().__init__(*args)

    def records_structure(self, outputs: int = 1, training: bool = False) -> MetricStates:
        return replicas.in_rows(self.strategy, super().records_structure(outputs, training))

    def merged(self, records: MetricStates) -> MetricStates:
        return replicas.sum_of_rows(records)

    def _on_device(self, model: FunctionalModel) -> Any:
        return replicas.replicated(model.apply_fn)

    def _placed(self, state: TrainState) -> Any:
        return replicas.place_state(self.strategy, state)

    def _compiles_loops(self, execution: str) -> bool:
        return False

    def _train_loop(self, execution: str, batch_size: int) -> Callable[..., Any]:
        step = self.train_step(
            reduce=replicas.all_reduce,
            compile_gradients=execution == "xla" and not self._statistics,
            compile_update=execution != "graph",
        )
        return replicas.train_loop(self.strategy, step, self.variables, batch_size, self.halts)

    def _gradients(self, batch_size: int) -> Callable[..., Tree]:
        step = self._gradient_step(replicas.all_reduce)
        return replicas.gradients(self.strategy, step, self.variables, batch_size)

    def _one_step(self, records: MetricStates, batch_size: int) -> Callable[[Batch], MetricStates]:
        step = self.train_step(reduce=replicas.all_reduce)
        return replicas.one_step(self.strategy, step, self.variables, records, batch_size)

    def _eval_loop(self, execution: str, batch_size: int) -> Callable[..., Any]:
        return replicas.eval_loop(self.strategy, self._eval_step, self.variables, batch_size)


def programs_of(strategy: Any, model: Any, *args: Any) -> Programs:
    """For one device where the strategy is None; model: the Keras model, if it is one."""
    if strategy is None:
        return Programs(*args)
    statistics = not isinstance(model, FunctionalModel) and has_batch_statistics(model)
    return ReplicatedPrograms(strategy, statistics, *args)


def _loop(
    one: Callable[..., MetricStates], batch_size: int, loop_condition: replicas.LoopCondition
) -> Callable[..., Any]:
    """Batches one after another on the device.

    The position is a variable of the loop: XLA would take a slice that begins at an argument for
    one that begins at a constant, and compile again for each of its values.
    """

    def run(
        examples: Tree, start: Tensor, stop: Tensor, last: Tensor, records: MetricStates
    ) -> MetricStates:
        def body(at: Tensor, records: MetricStates) -> tuple[Tensor, MetricStates]:
            end = at + batch_size
            return end, merge(records, one(_slice(examples, at, batch_size), end, stop, last))

        going = loop_condition(start, stop)
        merged: MetricStates = tf.while_loop(lambda at, _: going(at), body, (start, records))[1]
        return merged

    return run


def _slice(examples: Tree, at: Tensor, size: int) -> Tree:
    def slice_one(a: Tensor) -> Tensor:
        behind = [tf.constant(0, tf.int64)] * (a.shape.rank - 1)
        return tf.slice(a, tf.stack([at, *behind]), [size, *a.shape[1:]])

    return tf.nest.map_structure(slice_one, examples)
