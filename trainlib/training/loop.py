"""One `fit`: epochs, calls to the device, what callbacks ask for, and checkpoints."""

from __future__ import annotations

import functools
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from trainlib.core.types import Tree
from trainlib.step.finite_guard import FiniteGuardState
from trainlib.step.state import MetricStates
from trainlib.training.callback import (
    Callback,
    NonFiniteError,
    Request,
    Results,
    RollBack,
    Save,
    SetHyperparams,
    SetWeights,
    Stop,
    TrainingStatus,
    as_requests,
)
from trainlib.training.checkpoints import Checkpoint, Checkpoints, TrainingPosition, named
from trainlib.training.input_pipeline import Arrays, Chunk, Feed, Stream, specs_of
from trainlib.training.order import epoch_order
from trainlib.training.replicas import any_worker, broadcast_from_chief, is_chief, is_multi_worker

if TYPE_CHECKING:
    from trainlib.training.trainer import Trainer

SECONDS_PER_CALL = 0.25
"""About how long a call to the device lasts: between calls a bar is drawn and Ctrl-C is heard."""


class Run:
    """Goes through the epochs of a `fit`.

    epoch: epochs that have ended. batch: batches trained on in the one under way. batches: those
    of the model's whole training. records: of the epoch under way. history: results of each epoch.
    nonfinite: what ended the last call to the device, where a step that is not finite does that.

    Args:
        trainer: what is trained.
        feed: the batches.
        held_out: those of the validation; None for none.
        epochs: of the whole run.
        shuffle: whether arrays are taken in an order of each epoch's own.
        callbacks: are told, in this order.
        checkpoints: where they are saved; None: nowhere.
    """

    def __init__(
        self,
        trainer: Trainer,
        feed: Feed,
        held_out: Feed | None,
        epochs: int,
        shuffle: bool,
        callbacks: Sequence[Callback],
        checkpoints: Checkpoints | None,
    ) -> None:
        self.trainer, self.feed, self.held_out = trainer, feed, held_out
        self.epochs, self.shuffle = epochs, shuffle
        self.callbacks, self.checkpoints = callbacks, checkpoints
        self.steps = feed.batches()
        self.batches = trainer.reports.batches_seen()
        self.first = self.batches // self.steps if self.steps else 0
        self.epoch, self.batch, self.seconds = 0, 0, 0.0
        self.history: tuple[Results, ...] = ()
        self.records: MetricStates | None = None
        self.stop: Stop | None = None
        self._last: tuple[Chunk, int] | None = None
        self.nonfinite: str | None = None
        self._unread = 0
        self._per_call = 1
        self._began = time.monotonic()
        self._resumed: Checkpoint | None = None
        self._gone_back_to: TrainingPosition | None = None

    def chunks(self) -> Iterator[Chunk]:
        """What the epoch under way has still to be trained on."""
        if isinstance(self.feed, Stream):
            unread, self._unread = self._unread, 0
            return self.feed.training(self.batch, unread)
        seed = int(self.trainer.programs.variables.seed.numpy())
        order = epoch_order(seed, self.first + self.epoch, self.feed.size) if self.shuffle else None
        return self.feed.training(order, self.batch)

    def go(self, chunks: Iterator[Chunk]) -> list[Results]:
        """Trains to the end, or to where a callback ends it; the history.

        Args:
            chunks: of the epoch under way.
        """
        finished = False
        try:
            self._apply_requests(self._notify_callbacks("on_train_begin"))
            self._give_states_back()
            while self.epoch < self.epochs and self.stop is None:
                self._train_epoch(chunks)
                if self.epoch < self.epochs and self.stop is None:
                    chunks = self.chunks()
            finished = self.stop is None or not self.stop.resumable
        finally:
            self._apply_requests(self._notify_callbacks("on_train_end", finished))
        return list(self.history)

    def _train_epoch(self, chunks: Iterator[Chunk]) -> None:
        self._began = time.monotonic() - self.seconds
        for chunk in chunks:
            self._train_chunk(chunk)
            if self.stop is not None:
                return
        validated = self._validate()
        if self.stop is not None:
            return
        assert self.records is not None
        step = int(self.trainer.programs.variables.step.numpy())
        results = {"epoch": self.epoch + 1, "step": step}
        results |= self.trainer.reports.results(self.records)
        results |= {f"val_{name}": x for name, x in validated.items()}
        results |= self.trainer.reports.rates() | {"seconds": self._elapsed()}
        self.history = (*self.history, results)
        asked = self._notify_callbacks("on_epoch_end")
        self.epoch, self.batch, self.seconds, self.records = self.epoch + 1, 0, 0.0, None
        self._began = time.monotonic()
        self._apply_requests(asked)

    def _train_chunk(self, chunk: Chunk) -> None:
        """Makes the steps of a chunk, in calls of about SECONDS_PER_CALL."""
        programs, specs = self.trainer.programs, specs_of(chunk.examples)
        if self.records is None:
            self.records = programs.no_records(self.trainer.execution, specs, training=True)
        program = programs.train(self.trainer.execution, chunk.rows, specs)
        start = chunk.start
        while start < chunk.stop and self.stop is None:
            called = time.monotonic()
            left = (chunk.stop - start) // chunk.rows
            batches = min(self._per_call, left, *self._steps_to_next_callback())
            stop = start + batches * chunk.rows
            self.records = program(*call(chunk, start, stop), self.records)
            if programs.halts:  # behind a step that was not finite it made no more
                batches = self.trainer.reports.batches_seen() - self.batches
                self.nonfinite = self.trainer.reports.nonfinite()
            start += batches * chunk.rows
            self._last = chunk, start - chunk.rows
            self.batch, self.batches = self.batch + batches, self.batches + batches
            self._apply_requests(self._notify_callbacks("on_train_batch_end"))
            took = max(broadcast_from_chief(self.trainer.strategy, time.monotonic() - called), 1e-9)
            self._per_call = max(1, min(int(batches * SECONDS_PER_CALL / took), 16 * batches))

    def _steps_to_next_callback(self) -> list[int]:
        """The batches to those after which a callback wants to be told."""
        every = {callback.every for callback in self.callbacks if callback.every is not None}
        return [n - self.batches % n for n in every]

    def _validate(self) -> Results:
        """The results over the validation data; {} where there are none."""
        if self.held_out is None:
            return {}
        results: MetricStates = {}
        for records in self.trainer.evaluated(self.held_out):
            self._apply_requests(self._notify_callbacks("on_test_batch_end"))
            if self.stop is not None:
                return {}
            results = records
        return self.trainer.reports.results(results)

    def _elapsed(self) -> float:
        """Seconds of the epoch so far, in all processes that worked at it."""
        return time.monotonic() - self._began

    def _notify_callbacks(self, moment: str, finished: bool = False) -> list[Request]:
        """Tells the callbacks, and collects what they ask for."""
        records, told = self.records, self.trainer.reports
        status = TrainingStatus(
            epoch=self.epoch + (self.batch > 0 or moment not in ("on_train_begin", "on_train_end")),
            epochs=self.epochs,
            batch=self.batch,
            steps_per_epoch=self.steps,
            global_batch=self.batches,
            history=self.history,
            metrics=functools.partial(told.so_far, records) if records else dict,
            state=self.trainer.programs.read,
            nonfinite=self.nonfinite,
            stop=self.stop,
            finished=finished,
            gradients=self._gradients,
            graph=self._graph,
            is_chief=is_chief(self.trainer.strategy),
        )
        asked: list[Request] = []
        for callback in self.callbacks:
            asked += as_requests(callback, getattr(callback, moment)(status))
        return (
            asked if moment in ("on_train_begin", "on_train_end") else self._of_all_workers(asked)
        )

    def _gradients(self) -> Tree:
        """Those of the last batch, at the parameters as they are."""
        if self._last is None:
            return None
        chunk, at = self._last
        program = self.trainer.programs.gradients(chunk.rows, specs_of(chunk.examples))
        return program(chunk.examples, _int64(at))

    def _graph(self) -> Any:
        """That of a step on a batch like the last one."""
        if self._last is None:
            return None
        chunk, _ = self._last
        return self.trainer.programs.step_graph(chunk.rows, specs_of(chunk.examples))

    def _of_all_workers(self, asked: list[Request]) -> list[Request]:
        """The requests, where any worker asks to save or to stop, alike on all of them."""
        if not is_multi_worker(self.trainer.strategy):
            return asked
        saves = [r for r in asked if isinstance(r, Save)]
        stops = [r for r in asked if isinstance(r, Stop)]
        wanted = any_worker(
            self.trainer.strategy,
            [
                bool(saves),
                any(r.best for r in saves),
                bool(stops),
                any(r.resumable for r in stops),
            ],
        )
        others: list[Request] = [r for r in asked if not isinstance(r, (Save, Stop))]
        reason = stops[0].reason if stops else "another worker asked for it"
        if wanted[2]:
            others.append(Stop(reason, resumable=wanted[3]))
        return [*others, Save(best=wanted[1])] if wanted[0] else others

    def _apply_requests(self, asked: Sequence[Request]) -> None:
        """Does what was asked for; a checkpoint comes last, so that it holds the rest."""
        for request in asked:
            if isinstance(request, SetHyperparams):
                self.trainer.set_hyperparams(**request.values)
            elif isinstance(request, SetWeights):
                self.trainer.weights = request.params, request.model_state
            elif isinstance(request, RollBack):
                self._roll_back(request)
            elif isinstance(request, Stop):
                self.stop = self.stop or request
        saves = [request for request in asked if isinstance(request, Save)]
        if saves:
            self._save(any(request.best for request in saves))

    def _save(self, best: bool) -> None:
        if self.checkpoints is None:
            raise ValueError("a callback asks for a checkpoint: fit(..., checkpoints=folder)")
        if not is_chief(self.trainer.strategy):
            return
        values = named("state", self.trainer.programs.read())
        if self.records is not None:
            values |= named("records", self.records)
        for name, callback in self._stateful_callbacks():
            values |= named(f"callbacks/{name}", callback.state)
        stop = self.stop
        about = {
            "conditions": self._conditions(),
            "first": self.first,
            "batches": self.batches,
            "seconds": self._elapsed(),
            "history": self.history,
            "stop": stop.reason if stop is not None and not stop.resumable else None,
        }
        self.checkpoints.save(TrainingPosition(self.epoch + 1, self.batch), values, about, best)

    def _conditions(self) -> dict[str, Any]:
        """What must be the same for a run to go on to the same bits."""
        arrays = self.feed if isinstance(self.feed, Arrays) else None
        strategy = self.trainer.strategy
        return {
            "data": arrays.fingerprint if arrays else "a source of batches",
            "seed": int(self.trainer.programs.variables.seed.numpy()),
            "batch_size": arrays.batch_size if arrays else None,
            "shuffle": self.shuffle if arrays else None,
            "steps_per_epoch": self.steps,
            "replicas": 1 if strategy is None else strategy.num_replicas_in_sync,
            "execution": self.trainer.execution,
        }

    def _stateful_callbacks(self) -> list[tuple[str, Callback]]:
        """The callbacks that keep a state, each with a name of its own."""
        found: dict[str, Callback] = {}
        for callback in self.callbacks:
            if getattr(callback, "state", None) is not None:
                kind = type(callback).__name__
                count = sum(name.partition("-")[0] == kind for name in found)
                found[f"{kind}-{count + 1}" if count else kind] = callback
        return list(found.items())

    def resume(self) -> None:
        """Goes back to where the newest checkpoint was made, if there is one.

        Raises:
            ValueError: it was made under other conditions, or of another model or optimizer.
        """
        found = self._newest()
        if found is None:
            return
        about = found.about
        self.trainer.take_execution(about["conditions"]["execution"])
        for name, here in self._conditions().items():
            there = about["conditions"].get(name)
            if there != here:
                raise ValueError(
                    f"checkpoint {found.place} was made with {name} {there}, not {here}"
                )
        self.trainer.state = found.tree("state", self.trainer.programs.variables)
        if any(name.startswith("records/") for name in found.values):
            structure = self.trainer.programs.records_structure(training=True)
            self.records = found.tree("records", structure, False)
        self.epoch, self.batch = found.place.epoch - 1, found.place.batch
        self.first, self.batches = about["first"], about["batches"]
        self._unread = self.epoch * (self.steps or 0)
        self.seconds, self.history = about["seconds"], tuple(about["history"])
        self.stop = None if about["stop"] is None else Stop(about["stop"])
        self._resumed = found

    def _newest(self) -> Checkpoint | None:
        """The newest checkpoint that the first worker can read."""
        assert self.checkpoints is not None
        strategy = self.trainer.strategy
        found = self.checkpoints.newest() if is_chief(strategy) else None
        if not is_multi_worker(strategy):
            return found
        numbers = found.place if found else TrainingPosition(0, 0)
        place = TrainingPosition(
            *(int(broadcast_from_chief(strategy, number)) for number in numbers)
        )
        if found is None and place.epoch:
            return self.checkpoints.load(place)
        return found

    def _give_states_back(self) -> None:
        """Gives the callbacks the states that the checkpoint kept of them."""
        if self._resumed is None:
            return
        for name, callback in self._stateful_callbacks():
            callback.state = self._resumed.tree(f"callbacks/{name}", callback.state)

    def _roll_back(self, request: RollBack) -> None:
        """Takes the state of the newest checkpoint, and goes on behind the batches since then."""
        if self.checkpoints is None:
            raise ValueError("a callback asks to roll back: fit(..., checkpoints=folder)")
        self.checkpoints.wait()
        found = self._newest()
        if found is None or found.place == self._gone_back_to:
            again = "there is none" if found is None else f"{found.place} was gone back to already"
            message = f"{request.reason}; no checkpoint to go back to: {again}"
            raise NonFiniteError(message, self.batches)
        state = found.tree("state", self.trainer.programs.variables)
        if isinstance(state.finite_guard, FiniteGuardState):  # which counts the batches left out
            skipped = tf.constant(self.batches, tf.int64) - state.step
            state = state._replace(finite_guard=state.finite_guard._replace(skipped=skipped))
        self.trainer.state = state
        self._gone_back_to = found.place


def call(chunk: Chunk, start: int, stop: int) -> tuple[Any, ...]:
    """What a loop is called with for the examples of a chunk from `start` up to `stop`."""
    ends = chunk.last and stop == chunk.stop
    return chunk.examples, _int64(start), _int64(stop), tf.constant(ends)


def _int64(x: int) -> tf.Tensor:
    return tf.constant(x, tf.int64)
