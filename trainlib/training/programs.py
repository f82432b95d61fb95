"""The programs of the devices: the state in variables, and compiled functions of it."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf

from trainlib.core.tree import check_same_structure, dense
from trainlib.core.types import Tree
from trainlib.step.averages import averaged_weights
from trainlib.step.evaluation import stateful_predict_step
from trainlib.step.gradients import compute_gradients, reduce_gradients
from trainlib.step.loss_scale import unscale_grads
from trainlib.step.state import (
    AllReduce,
    Batch,
    MetricStates,
    StepConfig,
    TrainState,
    init_state,
)
from trainlib.step.train import train_step
from trainlib.training.devices import OneDevice, TrainStep
from trainlib.training.empty_states import columns_by_output, empty_states, sized_metrics
from trainlib.training.functional_model import FunctionalModel
from trainlib.training.keras_private import TracedCall
from trainlib.training.shapes import ShapeLimit
from trainlib.training.variables import assign_changed, assign_values, read_values


class Programs:
    """The compiled functions of a model, each built at its first use and then kept.

    Args:
        devices: the devices on which the functions run.
        config: configuration of the step, with the model's function as it is in inference.
        state: the state before the first step.
        halts: whether a loop of steps ends after a skipped step if no lower loss scale is left.
            Default: False.
        keeps_inference_state: whether evaluation and prediction assign the model state that the
            model returns, as for Keras models. Default: False.

    Attributes:
        variables: the `TrainState` as variables.
        part_config: configuration of the step, with the model's function as training calls it on
            these devices.
        traces: number of functions that were traced.
        shape_limit: limit on the number of shapes of batches for which programs are traced.
        changed_in_inference: whether a traced evaluation or prediction changes the state.
    """

    def __init__(
        self,
        devices: OneDevice,
        config: StepConfig,
        state: TrainState,
        *,
        halts: bool = False,
        keeps_inference_state: bool = False,
    ) -> None:
        self._keeps_inference_state, self.changed_in_inference = keeps_inference_state, False
        self.devices, self.config, self.halts = devices, config, halts
        self.part_config = dataclasses.replace(config, apply_fn=devices.wrap(config.apply_fn))
        self.variables: Any = devices.place(state)
        self.traces = 0
        self.shape_limit = ShapeLimit()
        self._compiled: dict[tuple[str, int, str, str], Callable[..., Any]] = {}
        self._empty: dict[tuple[str, bool, str], MetricStates] = {}

    def restart(self, state: TrainState) -> None:
        """Begin again from another state.

        Raises:
            ValueError: it has another structure, other shapes or other dtypes.
        """
        check_same_structure("the state of the programs", self.variables, "the new state", state)
        pairs = zip(tf.nest.flatten(self.variables), tf.nest.flatten(state), strict=True)
        for variable, x in pairs:
            if (variable.shape, variable.dtype) != (x.shape, x.dtype):
                raise ValueError(
                    f"the programs are for a tensor {variable.shape} of {variable.dtype.name}, and "
                    f"the new state has {x.shape} of {x.dtype.name}"
                )
        assign_values(self.variables, state)

    def read(self) -> TrainState:
        """Return the state as tensors."""
        state: TrainState = read_values(self.variables)
        return state

    def train(self, execution: str, rows: int, specs: Tree) -> Callable[..., MetricStates]:
        """Return the loop of training steps, on batches of `rows` examples.

        It is `(examples, start, stop, last, metric_states) -> metric_states`. The batches are
        between the positions `start` and `stop` of the examples; with `last`, `stop` ends the
        epoch.
        """

        def build() -> Callable[..., Any]:
            compiled = self.devices.compiled_parts(execution)
            step = train_step(
                self.part_config,
                all_reduce=self.devices.all_reduce,
                compile_gradients=compiled.gradients,
                compile_update=compiled.update,
            )
            return self.devices.train_loop(step, self.variables, rows, self.halts)

        return self._loop("train", build, execution, rows, specs)

    def evaluate(self, execution: str, rows: int, specs: Tree) -> Callable[..., MetricStates]:
        """Return the same loop in inference mode; examples after `stop` are ignored."""

        def build() -> Callable[..., Any]:
            step = self._inference(self.devices.eval_step(self.config))
            return self.devices.eval_loop(step, self.variables, rows)

        return self._loop("evaluate", build, self._evaluated_by(execution), rows, specs)

    def predict(self, execution: str, specs: Tree) -> Any:
        """Return `x -> y_pred`, in inference mode."""
        execution = self._evaluated_by(execution)
        specs = self._limited(execution, specs)
        key = "predict", 0, execution, repr(specs)
        if key not in self._compiled:
            step = self._inference(stateful_predict_step(self.config.apply_fn))

            def predict(x: Any) -> Any:
                old = read_values(self.variables)
                new, y_pred = step(old, x)
                assign_changed(self.variables, old, new)
                return y_pred

            self._compiled[key] = self._function(predict, specs, execution)
        return self._compiled[key]

    def _inference(self, step: Callable[..., Any]) -> Callable[..., Any]:
        """Return a step in inference mode; of the state, only that of a Keras model can change.

        The step uses averaged parameters, if there are any.
        """

        def inference(state: TrainState, *batch: Any) -> Any:
            params, model_state = averaged_weights(state)
            seen = state._replace(params=params, model_state=model_state)
            new, result = step(seen, *batch)
            if not self._keeps_inference_state:
                return state, result
            flat = [tf.nest.flatten(x) for x in (state, seen, new)]
            kept = [old if y is x else y for old, x, y in zip(*flat, strict=True)]
            self.changed_in_inference |= any(x is not y for x, y in zip(flat[0], kept, strict=True))
            return tf.nest.pack_sequence_as(state, kept), result

        return inference

    def state_loop(
        self, kind: str, step: TrainStep, rows: int, specs: Tree, empty: MetricStates
    ) -> Callable[..., MetricStates]:
        """Return a loop like that of `train` for another step, which changes only the model state.

        Args:
            kind: name of the step, the key of the compiled loop; different steps need different
                names.
            step: function `(state, batch, last) -> (state, metric states)`. Its state has no
                parameters, optimizer state and average.
            rows: number of examples in a batch.
            specs: structure of `tf.TensorSpec`s of the examples, with an open first axis.
            empty: the metric states of the step over no examples.
        """
        kept = self.variables._replace(params=(), opt_state=(), average=())
        build = functools.partial(self.devices.train_loop, step, kept, rows)
        return self._loop(kind, build, "graph", rows, specs, empty)

    def gradients(self, rows: int, specs: Tree) -> Callable[..., Tree]:
        """Return `(examples, position) -> grads` of the batch that begins at the position."""
        key = "gradients", rows, "graph", repr(specs)
        if key not in self._compiled:
            step = gradient_step(self.part_config, self.devices.all_reduce)
            self._compiled[key] = function = tf.function(
                self.devices.gradients(step, self.variables, rows),
                input_signature=[specs, tf.TensorSpec([], tf.int64)],
                autograph=False,
            )
            function.get_concrete_function()
        return self._compiled[key]

    def step_graph(self, rows: int, specs: Tree) -> Any:
        """Return the `tf.Graph` of one training step on a batch of `rows` examples."""
        batch = tf.nest.map_structure(lambda s: tf.TensorSpec([rows, *s.shape[1:]], s.dtype), specs)
        empty = self.empty_metric_states("graph", specs, training=True)
        step = train_step(self.part_config, all_reduce=self.devices.all_reduce)
        function: Any = tf.function(
            self.devices.single_step(step, self.variables, empty, rows),
            input_signature=[batch],
            autograph=False,
        )
        return function.get_concrete_function().graph

    def empty_metric_states(
        self, execution: str, specs: Tree, training: bool = False
    ) -> MetricStates:
        """Return empty metric states in the shapes for data of these specs."""
        execution = self._evaluated_by(execution)
        key = execution, training, repr(specs)
        if key not in self._empty:
            columns = None
            if sized_metrics(self.config):
                y_pred = self.predict(execution, specs[:1]).structured_outputs
                columns = columns_by_output(self.config, y_pred)
            self._empty[key] = self.metric_structure(columns, training)
        return self._empty[key]

    def metric_structure(
        self, columns: Mapping[str, int] | None = None, training: bool = False
    ) -> MetricStates:
        """Return empty metric states in the form that the loops take.

        Args:
            columns: length of the last axis of each output, from `columns_by_output`. Default:
                None, 1 for each output.
            training: whether the states are those of training. Default: False.
        """
        return self.devices.expand(empty_states(self.config, columns, training))

    def _evaluated_by(self, execution: str) -> str:
        """Return the execution of evaluation and prediction: XLA takes no batches of open sizes."""
        return "graph" if self.devices.open_rows else execution

    def _limited(self, execution: str, specs: Tree) -> Tree:
        """Return the specs to trace a program for; not limited for XLA, which needs each shape."""
        return specs if self.devices.compiles_loops(execution) else self.shape_limit(specs)

    def _loop(
        self,
        kind: str,
        build: Callable[[], Callable[..., Any]],
        execution: str,
        rows: int,
        specs: Tree,
        empty: MetricStates | None = None,
    ) -> Callable[..., Any]:
        """Return a compiled loop for any number of examples: more data need no new trace."""
        specs = self._limited(execution, specs)
        key = kind, rows, execution, repr(specs)
        if key not in self._compiled:
            position = tf.TensorSpec([], tf.int64)
            if empty is None:
                empty = self.empty_metric_states(execution, specs, kind == "train")
            metric_states = tf.nest.map_structure(lambda x: tf.TensorSpec(x.shape, x.dtype), empty)
            signature = [specs, position, position, tf.TensorSpec([], tf.bool), metric_states]
            self._compiled[key] = TracedCall(self._function(build(), signature, execution))
        return self._compiled[key]

    def _function(self, function: Callable[..., Any], signature: Tree, execution: str) -> Any:
        """Return the function, traced for a signature and compiled; its traces are counted.

        A first call that traces would count as a retrace: TensorFlow counts by source line, and
        warns of several models, or of several shapes, as if they were one function. A call of the
        `tf.function` would also look for the traced function each time.
        """

        def traced(*args: Any) -> Any:
            self.traces += 1
            return function(*args)

        compiled: Any = tf.function(
            traced,
            input_signature=signature,
            jit_compile=self.devices.compiles_loops(execution),
            autograph=False,
        )
        return compiled.get_concrete_function()


def gradient_step(
    config: StepConfig, all_reduce: AllReduce | None
) -> Callable[[TrainState, Batch], Tree]:
    """Return `(state, batch) -> grads`, the gradients that a step gives to the optimizer, dense."""
    config = dataclasses.replace(config, metrics={}, finite_guard=False, norms=False)

    def step(state: TrainState, batch: Batch) -> Tree:
        gradients = compute_gradients(config, state, batch, all_reduce=all_reduce)
        if all_reduce is not None:
            gradients = reduce_gradients(gradients, all_reduce)
        return tf.nest.map_structure(dense, unscale_grads(gradients.grads, state.loss_scale))

    return step


def state_before_first_step(
    config: StepConfig, model: FunctionalModel, seed: int = 0
) -> TrainState:
    """Return the state of a model before its first step.

    Args:
        config: configuration of the step.
        model: the model as a function, with its initial values.
        seed: seed of the order of examples. Default: 0.
    """
    return init_state(
        model.params,
        model.model_state,
        config.optimizer,
        seed,
        loss_scale=config.loss_scale,
        finite_guard=config.finite_guard,
        average=config.average,
        averaged_state=config.averaged_state,
    )
