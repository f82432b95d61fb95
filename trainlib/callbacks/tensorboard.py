"""A run as TensorBoard shows it."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trainlib.callbacks.display import HIDDEN
from trainlib.callbacks.events import Events, check_installed, has_events
from trainlib.callbacks.pictures import as_images, first_layer, grid
from trainlib.callbacks.projector import activations, last_hidden, write_embeddings
from trainlib.core.checks import check_integer
from trainlib.core.tree import leaves_by_path
from trainlib.core.types import Tree
from trainlib.training.callback import Callback, Results, TrainingStatus

VALIDATION = "val_"
"""What the names of the validation's results begin with."""


class TensorBoard(Callback):
    """Writes events for `tensorboard --logdir=folder`: in folder/train and folder/validation.

    Each point lies at the number of batches trained on. There are

        epoch/loss, epoch/<metric>, ...   each result of an epoch that is one number, the
                                          validation's under the same tag; learning_rate,
                                          gradient_norm, update_norm, loss_scale, skipped_steps
                                          where the results have them; steps_per_second
        step/loss, ...                    every so many batches: the same, over the epoch so far
        weights/<path>, gradients/<path>  histograms; gradients of the last batch
        inputs, first_layer/<path>        pictures, where the examples are images

    and the graph of a training step; in the folder itself the hyperparameters, and as final/loss
    and so on the results that they led to; and at the end files for the projector: the last hidden
    layer's activations for the examples. A run that is resumed goes on in files of its own, which
    take back what was written behind the checkpoint.

    Args:
        folder: of this run; that of several runs' folders compares them.
        steps: batches from one point to the next within an epoch; None: one an epoch.
        histogram_epochs: epochs from one set of histograms and pictures of weights to the next;
            0: none.
        graph: whether the graph is written.
        hyperparameters: of the run, by name: numbers, bools and text.
        examples: some, as (x, y); their inputs are shown.
        model: the Keras model that is trained, of whose layers the projector shows the last hidden
            one; it needs examples.

    Raises:
        ValueError, TypeError: an argument of another kind, or out of its range.
        ImportError: the package tensorboard is not installed.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        steps: int | None = None,
        histogram_epochs: int = 1,
        graph: bool = True,
        hyperparameters: Mapping[str, Any] | None = None,
        examples: tuple[Any, ...] | None = None,
        model: Any = None,
    ) -> None:
        check_installed()
        if steps is not None:
            check_integer("steps", steps, at_least=1)
        check_integer("histogram_epochs", histogram_epochs, at_least=0)
        if model is not None and examples is None:
            raise ValueError("model is for the projector, which needs examples=(x, y), too")
        self.folder = Path(folder)
        self.every, self.histogram_epochs = steps, histogram_epochs
        self.hyperparameters = dict(hyperparameters or {})
        self.examples, self.hidden = examples, last_hidden(model)
        self._images = None if examples is None else as_images(examples[0])
        self._shape = None if examples is None or self._images is None else examples[0].shape[1:]
        self._with_graph = self._graph_due = graph
        self._events: dict[str, Events] = {}
        self._first = 0
        self._told = 0.0, 0

    def on_train_begin(self, status: TrainingStatus) -> None:
        self._graph_due = self._with_graph and not status.history and status.batch == 0
        if not status.is_chief:
            return
        # Behind an epoch all that lies at its last batch is there to stay. Within one, its end may
        # lie there too, where the epoch was trained to the end, and comes again.
        self._first = status.global_batch + (status.global_batch > 0 and status.batch == 0)
        self._told = time.monotonic(), status.global_batch
        train = self._writer("train")
        if has_events(self.folder / "validation"):
            self._writer("validation")
        if not train.begun:
            self._write_history(status)
        if not train.begun or status.global_batch == 0:
            self._write_beginning(status.global_batch)
        if status.batch and self._is_due(status):
            self._write_step(status, {})

    def on_train_batch_end(self, status: TrainingStatus) -> None:
        if self._graph_due:
            self._graph_due, graph = False, status.graph()
            if status.is_chief:
                self._writer("train").graph(graph)
        if status.is_chief and self._is_due(status):
            now, (then, batches) = time.monotonic(), self._told
            self._told = now, status.global_batch
            speed = (status.global_batch - batches) / max(now - then, 1e-9)
            self._write_step(status, {"steps_per_second": speed})

    def on_epoch_end(self, status: TrainingStatus) -> None:
        due = self.histogram_epochs and status.epoch % self.histogram_epochs == 0
        grads = status.gradients() if due else None
        if not status.is_chief:
            return
        self._write_epoch(status.results, status.global_batch, status.batch)
        if due:
            params, step = status.state().params, status.global_batch
            train = self._writer("train")
            train.histograms(_by_tag("weights", params) | _by_tag("gradients", grads), step)
            for path, pixels in first_layer(params, self._shape).items():
                train.picture(f"first_layer/{path}", pixels, step)

    def on_train_end(self, status: TrainingStatus) -> None:
        try:
            if status.finished and self._events:
                self._write_end(status)
        finally:
            for events in self._events.values():
                events.close()
            self._events = {}

    def _writer(self, name: str) -> Events:
        """The events of a part of the run, opened at its first use."""
        if name not in self._events:
            self._events[name] = Events(self.folder / name, self._first)
        return self._events[name]

    def _is_due(self, status: TrainingStatus) -> bool:
        return self.every is not None and status.global_batch % self.every == 0

    def _write_beginning(self, step: int) -> None:
        """What is written once."""
        if self._images is not None:
            self._writer("train").picture("inputs", grid(self._images), step)
        if self.hyperparameters:
            self._writer("").message(_session_start(self.hyperparameters))

    def _write_step(self, status: TrainingStatus, more: Results) -> None:
        points = _by_tag("step", _numbers(status.metrics()) | more)
        self._writer("train").scalars(points, status.global_batch)

    def _write_epoch(self, results: Results, step: int, position: int | None) -> None:
        numbers = _numbers(results)
        held_out = {k: x for k, x in numbers.items() if k.startswith(VALIDATION)}
        trained = {k: x for k, x in numbers.items() if k not in held_out}
        if position is not None:
            trained["steps_per_second"] = position / max(results["seconds"], 1e-9)
        self._writer("train").scalars(_by_tag("epoch", trained), step)
        if held_out:
            named = {k.removeprefix(VALIDATION): x for k, x in held_out.items()}
            self._writer("validation").scalars(_by_tag("epoch", named), step)

    def _write_history(self, status: TrainingStatus) -> None:
        """The epochs before a run was resumed with this callback for the first time."""
        for results in status.history:
            self._write_epoch(results, results["step"] + results.get("skipped_steps", 0), None)

    def _write_end(self, status: TrainingStatus) -> None:
        """The last hidden layer; and beside the hyperparameters what they led to."""
        if self.hidden is not None and self.examples is not None:
            x, y, *_ = self.examples
            state = status.state()
            points = activations(self.hidden, state.params, state.model_state, x)
            write_embeddings(self.folder / "train", points, y, x)
        if self.hyperparameters:
            root = self._writer("")
            root.scalars(_by_tag("final", _numbers(status.results)), status.global_batch)
            root.message(_session_end())


def _numbers(results: Results) -> dict[str, float]:
    """The results that are one number."""
    numbers = {name: x for name, x in results.items() if isinstance(x, (int, float))}
    return {name: x for name, x in numbers.items() if name not in HIDDEN}


def _by_tag(kind: str, values: Tree) -> dict[str, Any]:
    """The leaves of a structure by `<kind>/<path>`, leaves of None left out."""
    if values is None:
        return {}
    return {f"{kind}/{path}": x for path, x in leaves_by_path(values) if x is not None}


def _session_start(hyperparameters: Mapping[str, Any]) -> Any:
    """The hyperparameters as the plugin for them takes them; what is no number is a text."""
    from tensorboard.plugins.hparams import api

    kinds = (bool, int, float, str)
    values = {k: x if isinstance(x, kinds) else str(x) for k, x in hyperparameters.items()}
    return api.hparams_pb(values, start_time_secs=time.time())


def _session_end() -> Any:
    from tensorboard.plugins.hparams import api_pb2, summary

    return summary.session_end_pb(api_pb2.STATUS_SUCCESS)
