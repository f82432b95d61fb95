"""The replay of a step: repeat one step of a run and summarize every tensor that it computes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from trainlib.core.checks import check_integer
from trainlib.core.tree import leaves_by_path
from trainlib.core.types import Tensor, Tree
from trainlib.step.state import Batch, Observer, TrainState
from trainlib.step.train import train_step
from trainlib.training.checkpoints import (
    DAMAGES,
    Checkpoint,
    Checkpoints,
    TrainingPosition,
)
from trainlib.training.context import TrainingContext
from trainlib.training.fit_config import FitConfig
from trainlib.training.loop import TrainingLoop
from trainlib.training.strategies import is_multi_worker
from trainlib.training.tensor_summary import TensorSummary, summarize


def trace_step(
    make_step: Callable[[Observer], Callable[..., Any]],
    state: TrainState,
    batch: Batch,
    last: bool = False,
) -> list[TensorSummary]:
    """Return the summaries of all floating tensors of a step, in the order of computation.

    First come the batch and the state, then each intermediate tensor, forward and backward, with
    the names "loss", "gradient" and "update" where the step reports them, and finally the new
    state. The step runs once, as a graph; the state is unchanged. Tensors inside a loop of the
    model are not visible.

    Args:
        make_step: function that makes the step with an observer, such as `lambda observer:
            tl.train_step(config, observer=observer)`.
        state: training state before the step.
        batch: batch of the step, `(x, y)` or `(x, y, sample_weight)`.
        last: whether the step ends an epoch.
    """
    arguments = [tf.convert_to_tensor(x) for x in tf.nest.flatten((state, batch))]
    observed: list[tuple[str, Tensor]] = []

    def traced(*values: Tensor) -> Tree:
        given = tf.nest.pack_sequence_as((state, batch), values)
        step = make_step(lambda part, tree: observed.extend(_floating(part, tree)))
        new_state, _ = step(*given, tf.constant(last))
        observed.extend(_floating("new", new_state))
        return [x for _, x in observed]

    specs = [tf.TensorSpec(x.shape, x.dtype) for x in arguments]
    function = tf.compat.v1.wrap_function(traced, specs)
    inputs = function.inputs[: len(arguments)]
    given = [*_floating("batch", batch), *_floating("state", state)]
    computed = _computed(function.graph, {x.ref() for x in inputs}, observed)
    fetched = function.prune(inputs, [x for _, x in computed])(*arguments)
    values = zip((name for name, _ in computed), fetched, strict=True)
    return [summarize(name, x.numpy()) for name, x in (*given, *values)]


class ReplayPoint(NamedTuple):
    """A step of a run to repeat.

    Attributes:
        state: training state before the step.
        batch: batch of the step, `(x, y)` or `(x, y, sample_weight)`.
        last: whether the step ends an epoch.
        description: description of the step for the user, with its epoch and batch.
    """

    state: TrainState
    batch: Batch
    last: bool
    description: str


class CheckpointsBefore:
    """A read-only view of the checkpoints that were made before a step.

    Args:
        checkpoints: checkpoints of the run; None for none.
        number: number of the step, counted over the model's whole training from 1.
    """

    def __init__(self, checkpoints: Checkpoints | None, number: int) -> None:
        self._checkpoints, self._max_batch = checkpoints, number - 1

    def save(
        self, position: TrainingPosition, values: Any, metadata: Any, best: bool = False
    ) -> None:
        """Do nothing: the run has saved its checkpoints."""

    def wait(self) -> None:
        """Do nothing."""

    def newest(self, max_batch: int | None = None) -> Checkpoint | None:
        """Return the newest readable checkpoint before the step; damaged ones are skipped."""
        limit = self._max_batch if max_batch is None else max_batch
        positions = [] if self._checkpoints is None else self._checkpoints.positions()
        for position in reversed(positions):
            try:
                found = self.load(position)
            except (*DAMAGES, OSError):
                continue
            if found.metadata["global_batch"] <= limit:
                return found
        return None

    def load(self, position: TrainingPosition) -> Checkpoint:
        """Return the checkpoint of a position."""
        assert self._checkpoints is not None
        return self._checkpoints.load(position)


def find_step(
    context: TrainingContext,
    config: FitConfig,
    number: int,
    checkpoints: Checkpoints | None = None,
) -> ReplayPoint:
    """Train from the newest checkpoint before a step, or from the start, up to that step.

    Nothing is saved; the callbacks are called as they were in the run.

    Args:
        context: `trainer.context` of a new trainer with the arguments of the run's trainer.
        config: `trainer.fit_config(...)` with the arguments of the run's `fit`.
        number: number of the step, counted over the model's whole training from 1.
        checkpoints: checkpoints of the run. Default: None, train from the start.

    Raises:
        ValueError: the run ends before that step, or there are several workers.
    """
    check_integer("replay_step", number, at_least=1)
    if is_multi_worker(context.strategy):
        raise ValueError("replay_step is for one process, not for several workers")
    loop = TrainingLoop(
        context,
        dataclasses.replace(config, stop_before=number),
        CheckpointsBefore(checkpoints, number),
    )
    loop.resume()
    loop.run(loop.chunks())
    progress, found = loop.progress, loop.next_step
    if found is None:
        stop = progress.stop
        why = f": {stop.reason}" if stop is not None and stop.reason else ""
        raise ValueError(
            f"replay_step {number}: the run ends after {progress.global_batch} steps{why}"
        )
    out_of = "" if loop.steps_per_epoch is None else f" of {loop.steps_per_epoch:,}"
    where = f"batch {progress.batch + 1:,}{out_of} in epoch {progress.epoch + 1}"
    return ReplayPoint(*found, f"step {number}: {where}")


def replay_step(context: TrainingContext, found: ReplayPoint) -> list[TensorSummary]:
    """Return the summaries of the tensors in a step of a run, as `trace_step` does.

    With replicas the step is made on one device, over the whole batch; random draws, as in dropout,
    then differ from those of the replicas.
    """
    config = dataclasses.replace(context.programs.config, norms=False)
    return trace_step(
        lambda observer: train_step(config, observer=observer),
        found.state,
        found.batch,
        found.last,
    )


def _floating(part: str, tree: Tree) -> list[tuple[str, Tensor]]:
    """Return the floating tensors of a structure with their names; leaves of None are left out.

    Of `tf.IndexedSlices`, as gradients of embeddings are, that is the values of the rows.
    """
    return [
        (f"{part} {path}".rstrip(), x.values if isinstance(x, tf.IndexedSlices) else x)
        for path, x in leaves_by_path(tree)
        if x is not None and tf.as_dtype(x.dtype).is_floating
    ]


def _computed(
    graph: Any, given: set[Any], observed: Sequence[tuple[str, Tensor]]
) -> list[tuple[str, Tensor]]:
    """Return the tensors of a graph in their order, with their observed or operation names.

    Operation names follow the part of the step: "forward" up to the loss, "backward" up to the
    gradients, then "update".
    """
    names: dict[Any, str] = {}
    for name, x in observed:
        names.setdefault(x.ref(), name)
    parts = {"forward": "loss", "backward": "gradient"}
    remaining = {
        part: sum(name.startswith(end) for name in names.values()) for part, end in parts.items()
    }
    found = []
    for operation in graph.get_operations():
        if operation.type in ("Const", "Placeholder"):
            continue
        for x in operation.outputs:
            if not x.dtype.is_floating or x.ref() in given:
                continue
            part = next((part for part in parts if remaining[part]), "update")
            operation_name = x.name.removesuffix(":0").removeprefix("gradient_tape/")
            name = names.get(x.ref(), f"{part} {operation_name}")
            found.append((name, x))
            for name_of_part, end in parts.items():
                remaining[name_of_part] -= name.startswith(end)
    return found
