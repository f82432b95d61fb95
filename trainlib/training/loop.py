"""`TrainingLoop`: the epochs of one `fit`, the calls to the device, and the callbacks' requests."""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from trainlib.core.types import Tree
from trainlib.step.state import Batch, MetricStates, TrainState
from trainlib.training.array_adapter import ArrayAdapter
from trainlib.training.callback import (
    Request,
    Results,
    RollBack,
    Save,
    SetHyperparams,
    SetTrainable,
    SetWeights,
    Stop,
    TrainingStatus,
    as_requests,
)
from trainlib.training.chunks import Chunk, specs_of
from trainlib.training.collectives import agree_on_requests, broadcast_from_chief
from trainlib.training.context import TrainingContext
from trainlib.training.evaluation import evaluate_batches, loop_arguments
from trainlib.training.fit_config import FitConfig
from trainlib.training.order import epoch_order
from trainlib.training.progress import CheckpointStore, Recovery, TrainingProgress
from trainlib.training.strategies import is_chief
from trainlib.training.stream_adapter import StreamAdapter
from trainlib.training.variables import assign_values, read_values


class NextStep(NamedTuple):
    """A step that a loop did not make, because it stopped before it.

    Attributes:
        state: the training state before the step.
        batch: the batch of the step, `(x, y)` or `(x, y, sample_weight)`.
        last: whether the step is the last of its epoch.
    """

    state: TrainState
    batch: Batch
    last: bool


class TrainingLoop:
    """Runs the epochs of a `fit`.

    Args:
        context: the programs, strategy and execution of the trainer.
        config: the data, the epochs and the callbacks.
        store: store of the run's checkpoints; None for no checkpoints.

    Attributes:
        progress: progress of the run.
        nonfinite_tensor: name of the tensor whose infinity or NaN ended the last call to the
            device; None if none did.
        next_step: step before which the loop stopped, with `config.stop_before`; None otherwise.
    """

    def __init__(
        self, context: TrainingContext, config: FitConfig, store: CheckpointStore | None = None
    ) -> None:
        self.context, self.config = context, config
        self.steps_per_epoch = config.data.batches()
        seen = context.results.batches_seen()
        # For an unknown length each batch is counted as an epoch: so no epoch has the number of an
        # earlier one, with which its examples would be augmented in the same way.
        earlier = seen // (self.steps_per_epoch or 1)
        start = config.initial_epoch
        self.progress = TrainingProgress(earlier - start, seen, start, initial_epoch=start)
        self.nonfinite_tensor: str | None = None
        self.next_step: NextStep | None = None
        self._recovery = Recovery(context, config.data, config.shuffle, config.callbacks, store)
        self._has_position = True
        self._latest: tuple[Chunk, int] | None = None
        self._unread_epochs = 0
        self._batches_per_call = 1
        self._began = time.monotonic()

    def resume(self) -> None:
        """Continue from the newest checkpoint, if there is one."""
        self.progress = self._recovery.resume(self.progress)
        self._unread_epochs = self.progress.epoch - self.progress.initial_epoch

    def chunks(self) -> Iterator[Chunk]:
        """Return the chunks that the current epoch still has to train on."""
        return self._chunks_from(self.progress.batch)

    def _chunks_from(self, batch: int) -> Iterator[Chunk]:
        """Return the chunks of the current epoch from a batch on, counted from 0."""
        data, progress = self.config.data, self.progress
        epoch = progress.first_epoch + progress.epoch
        if isinstance(data, StreamAdapter):
            unread, self._unread_epochs = self._unread_epochs, 0
            chunks = data.training(batch, unread)
        else:
            shuffled = self.config.shuffle
            order = epoch_order(self.context.seed, epoch, data.size) if shuffled else None
            chunks = data.training(order, batch)
        return self.context.augmented(chunks, data, epoch)

    def run(self, chunks: Iterator[Chunk]) -> list[Results]:
        """Train to the end, or until a callback ends the run, and return the history.

        Args:
            chunks: chunks of the current epoch.
        """
        finished = False
        try:
            self._apply_requests(self._notify_callbacks("on_train_begin"))
            self._recovery.restore_callbacks()
            while self._continues():
                self._train_epoch(chunks)
                if self._continues():
                    chunks = self.chunks()
            finished = self.progress.stop is None or not self.progress.stop.resumable
        finally:
            requests = self._notify_callbacks("on_train_end", finished)
            if not self._has_position:
                requests = [x for x in requests if not isinstance(x, Save)]
            self._apply_requests(requests)
        return list(self.progress.history)

    @contextlib.contextmanager
    def _between_positions(self) -> Iterator[None]:
        """Context in which the state is ahead of the position: no checkpoint may be saved then.

        If it is left by an error, or by the user, that stays so.
        """
        self._has_position = False
        yield
        self._has_position = True

    def _continues(self) -> bool:
        """Return whether there is another epoch to train."""
        return self.progress.epoch < self.config.epochs and self.progress.stop is None

    def _train_epoch(self, chunks: Iterator[Chunk]) -> None:
        """Train on the chunks of an epoch, validate, and notify the callbacks."""
        progress = self.progress
        self._began = time.monotonic() - progress.seconds
        if progress.batch == 0:
            self.context.reset_model_metrics()
        for chunk in chunks:
            self._train_up_to_limit(chunk)
            if progress.stop is not None:
                return
        of_layers = self.context.model_metrics()
        self.context.estimate_statistics(lambda: self._chunks_from(0))
        validation = self._validate()
        if progress.stop is not None:
            return
        with self._between_positions():
            progress.history = (*progress.history, self._epoch_results(of_layers, validation))
            requests = self._notify_callbacks("on_epoch_end")
            progress.epoch, progress.batch, progress.seconds = progress.epoch + 1, 0, 0.0
            progress.metric_states = None
        self._began = time.monotonic()
        self._apply_requests(requests)

    def _epoch_results(self, of_layers: Results, validation: Results) -> Results:
        """Return the results of the epoch that just ended.

        Args:
            of_layers: results of the metrics of the model's layers.
            validation: results on the validation data.
        """
        reader, progress = self.context.results, self.progress
        assert progress.metric_states is not None
        step = int(self.context.programs.variables.step.numpy())
        results = {"epoch": progress.epoch + 1, "step": step}
        results |= of_layers | reader.epoch_results(progress.metric_states)
        results |= {f"val_{name}": x for name, x in validation.items()}
        return results | reader.learning_rates() | {"seconds": self._elapsed()}

    def _train_up_to_limit(self, chunk: Chunk) -> None:
        """Train on a chunk, or on the part of it before `config.stop_before`."""
        if self.config.stop_before is None:
            self._train_chunk(chunk)
            return
        before = self.config.stop_before - 1 - self.progress.global_batch
        position = chunk.start + before * chunk.rows
        if position >= chunk.stop:
            self._train_chunk(chunk)
            return
        if before:
            self._train_chunk(chunk._replace(stop=position, last=False))
        if self.progress.stop is None:
            rows = slice(position, position + chunk.rows)
            batch = tf.nest.map_structure(lambda a: a[rows], chunk.examples)
            last = chunk.last and rows.stop == chunk.stop
            self.next_step = NextStep(self.context.state, batch, last)
            self.progress.stop = Stop(f"before step {self.config.stop_before}", resumable=True)

    def _train_chunk(self, chunk: Chunk) -> None:
        """Train on a chunk, in calls of about `config.seconds_per_call` seconds."""
        programs, progress, specs = self.context.programs, self.progress, specs_of(chunk.examples)
        execution = self._execution_of(chunk)
        if progress.metric_states is None:
            progress.metric_states = programs.empty_metric_states(execution, specs, training=True)
        program = programs.train(execution, chunk.rows, specs)
        start = chunk.start
        while start < chunk.stop and progress.stop is None:
            called = time.monotonic()
            left = (chunk.stop - start) // chunk.rows
            batches = min(self._batches_per_call, left, *self._steps_to_next_callback())
            stop = start + batches * chunk.rows
            with self._between_positions():
                progress.metric_states = program(
                    *loop_arguments(chunk, start, stop), progress.metric_states
                )
                if programs.halts:  # it ended after a step that was not finite
                    batches = self.context.results.batches_seen() - progress.global_batch
                    self.nonfinite_tensor = self.context.results.nonfinite_tensor()
                start += batches * chunk.rows
                self._latest = chunk, start - chunk.rows
                progress.batch += batches
                progress.global_batch += batches
            self._apply_requests(self._notify_callbacks("on_train_batch_end"))
            self._adjust_call(batches, time.monotonic() - called)

    def _execution_of(self, chunk: Chunk) -> str:
        """Return the execution of a chunk: that of a smaller last batch may be a graph."""
        data, devices = self.config.data, self.context.programs.devices
        is_smaller = isinstance(data, ArrayAdapter) and chunk.rows != data.batch_size
        in_graph = is_smaller and not devices.compiles_last_batch
        return "graph" if in_graph else self.context.execution

    def _adjust_call(self, batches: int, seconds: float) -> None:
        """Set the number of batches of the next call from the duration of the last.

        A call that was short only because its chunk ended changes nothing.
        """
        seconds = max(broadcast_from_chief(self.context.strategy, seconds), 1e-9)
        if batches < self._batches_per_call and seconds <= self.config.seconds_per_call:
            return
        wanted = int(batches * self.config.seconds_per_call / seconds)
        self._batches_per_call = max(1, min(wanted, 16 * batches))

    def _steps_to_next_callback(self) -> list[int]:
        """Return the numbers of batches until the next call of each callback that has `every`."""
        every = {callback.every for callback in self.config.callbacks if callback.every is not None}
        return [n - self.progress.global_batch % n for n in every]

    def _validate(self) -> Results:
        """Return the results over the validation data; {} if there is no validation."""
        if self.config.validation is None or not self.config.validates(self.progress.epoch + 1):
            return {}
        latest: MetricStates = {}
        programs, execution = self.context.programs, self.context.execution
        before = read_values(programs.variables.model_state)
        self.context.reset_model_metrics()
        for states in evaluate_batches(programs, execution, self.config.validation):
            latest = states
            requests = self._notify_callbacks("on_test_batch_end")
            if any(isinstance(request, Stop) for request in requests):
                # A resumed run validates again, and begins with the same state.
                assign_values(programs.variables.model_state, before)
            self._apply_requests(requests)
            if self.progress.stop is not None:
                return {}
        return self.context.model_metrics() | self.context.results.results(latest)

    def _elapsed(self) -> float:
        """Return the seconds of the epoch so far, including those before a resume."""
        return time.monotonic() - self._began

    def _notify_callbacks(self, method: str, finished: bool = False) -> list[Request]:
        """Call a method of each callback, and return their requests.

        `on_train_end` of all callbacks is called even if it raises an error in one of them; the
        first error is raised after that.
        """
        at_ends = method in ("on_train_begin", "on_train_end")
        status = self._status(at_ends, finished)
        requests: list[Request] = []
        errors: list[Exception] = []
        for callback in self.config.callbacks:
            try:
                requests += as_requests(callback, getattr(callback, method)(status))
            except Exception as error:
                if method != "on_train_end":
                    raise
                errors.append(error)
        if errors:
            raise errors[0]
        return requests if at_ends else agree_on_requests(self.context.strategy, requests)

    def _status(self, at_ends: bool, finished: bool) -> TrainingStatus:
        """Return the status that callbacks receive, at either end of the run or within it."""
        progress, reader = self.progress, self.context.results
        states = progress.metric_states
        return TrainingStatus(
            epoch=progress.epoch + (progress.batch > 0 or not at_ends),
            epochs=self.config.epochs,
            batch=progress.batch,
            steps_per_epoch=self.steps_per_epoch,
            global_batch=progress.global_batch,
            history=progress.history,
            metrics=functools.partial(reader.training_results, states) if states else dict,
            state=self.context.programs.read,
            nonfinite_tensor=self.nonfinite_tensor,
            stop=progress.stop,
            finished=finished,
            gradients=self._gradients,
            graph=self._graph,
            is_chief=is_chief(self.context.strategy),
            nonfinite_parameter=reader.nonfinite_parameter,
            skips_validation=self.config.validation is not None
            and not self.config.validates(progress.epoch + 1),
        )

    def _gradients(self) -> Tree:
        """Return the gradients of the latest batch at the current parameters."""
        if self._latest is None:
            return None
        chunk, position = self._latest
        program = self.context.programs.gradients(chunk.rows, specs_of(chunk.examples))
        return program(chunk.examples, tf.constant(position, tf.int64))

    def _graph(self) -> Any:
        """Return the graph of a step on a batch like the latest one."""
        if self._latest is None:
            return None
        chunk, _ = self._latest
        return self.context.programs.step_graph(chunk.rows, specs_of(chunk.examples))

    def _apply_requests(self, requests: Sequence[Request]) -> None:
        """Apply the requests; a checkpoint is saved last, so that it includes the others."""
        for request in requests:
            if isinstance(request, SetHyperparams):
                self.context.set_hyperparams(**request.values)
            elif isinstance(request, SetWeights):
                self.context.weights = request.params, request.model_state
            elif isinstance(request, SetTrainable):
                self._set_trainable(request)
            elif isinstance(request, RollBack):
                self._recovery.roll_back(self.progress, request)
            elif isinstance(request, Stop):
                stop = self.progress.stop
                if stop is None or (stop.resumable and not request.resumable):
                    self.progress.stop = request
        saves = [request for request in requests if isinstance(request, Save)]
        if saves:
            best = any(request.best for request in saves)
            self._recovery.save(self.progress, self._elapsed(), best)

    def _set_trainable(self, request: SetTrainable) -> None:
        """Train or freeze layers from the next epoch on.

        Raises:
            ValueError: the pattern matches no layer, the epoch has begun, or the data cannot be
                read again for the statistics of these layers.
        """
        if request.trainable:
            self.context.check_statistics(self.config.data, [request.pattern])
        flags = self.context.flags_with(*request)
        if flags == self.context.trainable_flags:
            return
        if self.progress.batch:
            raise ValueError(
                f"layers {request.pattern!r} are trained or frozen between two epochs: return "
                "SetTrainable from on_epoch_end"
            )
        self.context.trainable_flags = flags
