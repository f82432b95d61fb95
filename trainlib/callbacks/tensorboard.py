"""`TensorBoard`: writes the curves, histograms, images and graph of a run."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from trainlib.callbacks.events import Events, has_events, require_tensorboard
from trainlib.callbacks.images import first_layer, grid, images_by_tag
from trainlib.callbacks.layer_statistics import (
    ActivationObserver,
    by_tag,
    gradient_statistics,
)
from trainlib.callbacks.projector import activations, last_hidden, write_embeddings
from trainlib.core.checks import check_integer
from trainlib.core.tree import leaves_by_path
from trainlib.core.types import Tree
from trainlib.training.callback import NOT_METRICS, Callback, Results, TrainingStatus
from trainlib.training.paths import absolute

VALIDATION_PREFIX = "val_"
"""Prefix of the validation's results."""


class TensorBoard(Callback):
    """Writes events for `tensorboard --logdir=folder`, in folder/train and folder/validation.

    The position of each point is the number of batches trained on. The events are

        epoch/loss, epoch/<metric>, ...   each result of an epoch that is a single number, with the
                                          validation's under the same tag; learning_rate,
                                          gradient_norm, update_norm, loss_scale, skipped_steps
                                          if the results have them; steps_per_second
        step/loss, ...                    the same over the epoch so far, every `steps` batches
        weights/<path>, gradients/<path>  histograms; gradients of the last batch
        inputs, first_layer/<path>        images, if the examples are images; inputs/<name> of
                                          several inputs
        gradient_mean/<path>, gradient_std/<path>, activation_mean/<layer>, activation_std/<layer>,
        saturated/<layer>, dead/<layer>   with `layer_statistics`, as `LayerStatistics` has them

    and the graph of a training step. The folder itself holds the hyperparameters and the final
    results (final/loss, ...). At the end come the files of the projector: the last hidden layer's
    activations for the examples. A resumed run writes new files, which replace the points after
    the checkpoint.

    Args:
        folder: folder of this run; TensorBoard compares the runs in a parent folder.
        steps: batches between two points within an epoch, at least 1. Default: None, only one
            point per epoch.
        histogram_epochs: epochs between two sets of histograms and images of weights, at least 0;
            0 for none. Default: 1.
        graph: whether to write the graph. Default: True.
        hyperparameters: hyperparameters of the run by name: numbers, bools and text. Default: None.
        examples: some examples as (x, y), whose inputs are shown; x and y of several inputs and
            outputs are mappings by name. Default: None.
        model: the Keras model that is trained. The projector shows the activations of its last
            hidden layer for the examples; with several outputs, of the layer before the first one.
            Default: None.
        layer_statistics: whether statistics of the gradients of each parameter are written, with
            the histograms, and those of the activations of each layer of `model` for the examples.
            Default: False.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: an argument is out of range, a model is given without examples, or there is no
            example.
        ImportError: the package tensorboard is not installed.

    Example:
        >>> board = tl.callbacks.TensorBoard("logs", steps=100)
        >>> board.every, board.histogram_epochs
        (100, 1)
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
        layer_statistics: bool = False,
    ) -> None:
        require_tensorboard()
        if steps is not None:
            check_integer("steps", steps, at_least=1)
        check_integer("histogram_epochs", histogram_epochs, at_least=0)
        if model is not None and examples is None:
            raise ValueError("model is for the projector, which also needs examples=(x, y)")
        inputs = () if examples is None else tf.nest.flatten(examples[0])
        if any(np.shape(x)[:1] == (0,) for x in inputs):
            raise ValueError("examples must hold at least one example")
        if layer_statistics and not histogram_epochs:
            raise ValueError("layer_statistics needs histogram_epochs of at least 1")
        self.layer_statistics = layer_statistics
        observed = layer_statistics and model is not None
        self._observer = ActivationObserver(model) if observed else None
        self.folder = absolute(folder)
        self.every, self.histogram_epochs = steps, histogram_epochs
        self.hyperparameters = dict(hyperparameters or {})
        self.examples, self.hidden = examples, last_hidden(model)
        self._images = {} if examples is None else images_by_tag(examples[0])
        self._shape = next(iter(self._images.values())).shape[1:] if self._images else None
        self._with_graph = self._graph_due = graph
        self._events: dict[str, Events] = {}
        self._first = 0
        self._last_point = 0.0, 0

    def on_train_begin(self, status: TrainingStatus) -> None:
        self._graph_due = self._with_graph and not status.history and status.batch == 0
        if not status.is_chief:
            return
        # A run resumed at the end of an epoch keeps the points of its last batch. One resumed
        # within an epoch, even after its last batch, writes the points of the epoch's end again.
        self._first = status.global_batch + (status.global_batch > 0 and status.batch == 0)
        self._last_point = time.monotonic(), status.global_batch
        train = self._writer("train")
        if has_events(self.folder / "validation"):
            self._writer("validation")
        if not train.resumed:
            self._write_history(status)
        if not train.resumed or status.global_batch == 0:
            self._write_beginning(status.global_batch)
        if status.batch and self._is_due(status):
            self._write_step(status, {})

    def on_train_batch_end(self, status: TrainingStatus) -> None:
        if self._graph_due:
            self._graph_due, graph = False, status.graph()
            if status.is_chief:
                self._writer("train").graph(graph)
        if status.is_chief and self._is_due(status):
            now, (then, batches) = time.monotonic(), self._last_point
            self._last_point = now, status.global_batch
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
            if self.layer_statistics:
                train.scalars(self._layer_statistics(status, grads), step)
            for path, pixels in first_layer(params, self._shape).items():
                train.image(f"first_layer/{path}", pixels, step)

    def on_train_end(self, status: TrainingStatus) -> None:
        try:
            if status.finished and self._events:
                self._write_end(status)
        finally:
            for events in self._events.values():
                events.close()
            self._events = {}

    def _writer(self, name: str) -> Events:
        """Return the events of a part of the run, opened at its first use."""
        if name not in self._events:
            self._events[name] = Events(self.folder / name, self._first)
        return self._events[name]

    def _is_due(self, status: TrainingStatus) -> bool:
        """Return whether a point within the epoch is due."""
        return self.every is not None and status.global_batch % self.every == 0

    def _write_beginning(self, step: int) -> None:
        """Write the inputs and the hyperparameters, once."""
        for tag, images in self._images.items():
            self._writer("train").image(tag, grid(images), step)
        if self.hyperparameters:
            self._writer("").message(_session_start(self.hyperparameters))

    def _write_step(self, status: TrainingStatus, more: Results) -> None:
        """Write the results of the epoch so far, and more numbers."""
        points = _by_tag("step", _numbers(status.metrics()) | more)
        self._writer("train").scalars(points, status.global_batch)

    def _write_epoch(self, results: Results, step: int, batches: int | None) -> None:
        """Write the results of an epoch, and its speed if its number of batches is known."""
        numbers = _numbers(results)
        validation = {k: x for k, x in numbers.items() if k.startswith(VALIDATION_PREFIX)}
        trained = {k: x for k, x in numbers.items() if k not in validation}
        if batches is not None:
            trained["steps_per_second"] = batches / max(results["seconds"], 1e-9)
        self._writer("train").scalars(_by_tag("epoch", trained), step)
        if validation:
            by_tag = {k.removeprefix(VALIDATION_PREFIX): x for k, x in validation.items()}
            self._writer("validation").scalars(_by_tag("epoch", by_tag), step)

    def _layer_statistics(self, status: TrainingStatus, grads: Tree) -> dict[str, float]:
        """Return the statistics of gradients and of activations by tag."""
        points: dict[str, float] = {}
        for tag, values in gradient_statistics(grads).items():
            points |= _by_tag(tag, values)
        if self._observer is not None and self.examples is not None:
            state = status.state()
            found = self._observer(self.examples[0], state.params, state.model_state)
            points |= by_tag(found)
        return points

    def _write_history(self, status: TrainingStatus) -> None:
        """Write the epochs of a run that was resumed with this callback for the first time."""
        for results in status.history:
            self._write_epoch(results, results["step"] + results.get("skipped_steps", 0), None)

    def _write_end(self, status: TrainingStatus) -> None:
        """Write the last hidden layer, and the results next to the hyperparameters."""
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
    """Return the results that are a single number."""
    numbers = {name: x for name, x in results.items() if isinstance(x, (int, float))}
    return {name: x for name, x in numbers.items() if name not in NOT_METRICS}


def _by_tag(kind: str, values: Tree) -> dict[str, Any]:
    """Return the leaves of a structure by `<kind>/<path>`, without leaves of None."""
    if values is None:
        return {}
    return {f"{kind}/{path}": x for path, x in leaves_by_path(values) if x is not None}


def _session_start(hyperparameters: Mapping[str, Any]) -> Any:
    """Return the hyperparameters as the plugin takes them; other types become text."""
    from tensorboard.plugins.hparams import api

    kinds = (bool, int, float, str)
    values = {k: x if isinstance(x, kinds) else str(x) for k, x in hyperparameters.items()}
    return api.hparams_pb(values, start_time_secs=time.time())


def _session_end() -> Any:
    """Return the message that a run has ended, as the plugin takes it."""
    from tensorboard.plugins.hparams import api_pb2, summary

    return summary.session_end_pb(api_pb2.STATUS_SUCCESS)
