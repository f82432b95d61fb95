"""Calls to the device: evaluation and prediction over batches, and steps to be timed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from trainlib.core.types import Tree
from trainlib.step.state import MetricStates
from trainlib.training.autotune import Workload
from trainlib.training.chunks import Chunk, specs_of
from trainlib.training.data_adapter import DataAdapter
from trainlib.training.programs import Programs

EVALUATION_BATCH_SIZE = 512
"""Default number of examples in a batch of evaluation and prediction."""


def evaluate_batches(
    programs: Programs, execution: str, data: DataAdapter
) -> Iterator[MetricStates]:
    """Yield the metric states of the data so far, after each call to the device."""
    metric_states = None
    for chunk in data.evaluation(programs.devices.open_rows):
        specs = specs_of(chunk.examples)
        if metric_states is None:
            metric_states = programs.empty_metric_states(execution, specs)
        program = programs.evaluate(execution, chunk.rows, specs)
        metric_states = program(*loop_arguments(chunk, 0, chunk.stop), metric_states)
        yield metric_states


def trace_evaluation(programs: Programs, execution: str, chunk: Chunk) -> MetricStates:
    """Trace the evaluation of a chunk without running it, and return empty metric states."""
    specs = specs_of(chunk.examples)
    empty = programs.empty_metric_states(execution, specs)
    programs.evaluate(execution, chunk.rows, specs)
    return empty


def predict_batches(programs: Programs, execution: str, data: DataAdapter) -> Tree:
    """Return the predictions for batches (x,) in the structure of the model's outputs.

    Raises:
        ValueError: the predictions of two batches differ in more than their number.
    """
    parts = []
    for chunk in data.evaluation():
        program = programs.predict(execution, specs_of(chunk.examples))
        for start in range(0, chunk.stop, chunk.rows):
            rows = slice(start, min(start + chunk.rows, chunk.stop))
            batch = tf.nest.map_structure(lambda a: a[rows], chunk.examples)  # noqa: B023
            parts.append(tf.nest.map_structure(lambda y: y.numpy(), program(*batch)))
    return tf.nest.map_structure(_concatenate, *parts)


def _concatenate(*parts: np.ndarray) -> np.ndarray:
    """Return the predictions of all batches as one array."""
    if not parts[0].ndim:
        raise ValueError(
            "the model returns one number for a batch, not one for each example: give it an axis "
            "of examples, or leave that output out"
        )
    shapes = sorted({part.shape[1:] for part in parts})
    if len(shapes) > 1:
        raise ValueError(
            f"predictions of batches have different shapes, {list(shapes[0])} and "
            f"{list(shapes[1])} for an example, and make no array: predict each batch by itself"
        )
    return np.concatenate(parts)


def loop_arguments(chunk: Chunk, start: int, stop: int) -> tuple[Any, ...]:
    """Return the arguments of a loop over the examples of a chunk from `start` up to `stop`."""
    ends = chunk.last and stop == chunk.stop
    return (
        chunk.examples,
        tf.constant(start, tf.int64),
        tf.constant(stop, tf.int64),
        tf.constant(ends),
    )


def training_workload(programs: Programs, default: str, chunk: Chunk, steps: int) -> Workload:
    """Return the training steps on a chunk as a workload, for a run of `steps` steps."""
    specs = specs_of(chunk.examples)

    def run(execution: str, count: int) -> None:
        program = programs.train(execution, chunk.rows, specs)
        empty = programs.empty_metric_states(execution, specs, training=True)
        stop = chunk.start + count * chunk.rows
        states = program(*loop_arguments(chunk, chunk.start, stop), empty)
        tf.nest.flatten(states)[0].numpy()

    def graph() -> Any:
        program: Any = programs.train(default, chunk.rows, specs)
        return program.graph

    variables = [(v.shape, v.dtype) for v in tf.nest.flatten(programs.variables)]
    return Workload(
        run,
        graph,
        steps,
        (chunk.stop - chunk.start) // chunk.rows,
        repr([chunk.rows, specs, *variables]),
    )
