"""`Trainer`: the one class that a user meets."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from trainlib.core.checks import check_choice, check_integer
from trainlib.core.tree import check_same_structure, kernels
from trainlib.core.types import Optimizer, Schedule, Tree
from trainlib.losses import Loss
from trainlib.regularizers import Regularizer
from trainlib.step.loss_scale import (
    LossScale,
    check_loss_scale,
    dynamic_loss_scale,
)
from trainlib.step.state import MetricStates, TrainState
from trainlib.training.callback import Results, as_callback
from trainlib.training.checkpoints import Checkpoints
from trainlib.training.execution import autotune, default_execution
from trainlib.training.functional_model import FunctionalModel, as_functional_model, write_back
from trainlib.training.input_pipeline import Arrays, Chunk, Data, Feed, Stream, as_feed, specs_of
from trainlib.training.loop import Run, call
from trainlib.training.nonfinite import HALTING, POLICIES, UNGUARDED, callbacks_for_policy
from trainlib.training.order import epoch_order
from trainlib.training.programs import programs_of
from trainlib.training.replicas import is_multi_worker, strategy_named
from trainlib.training.reporting import Reports
from trainlib.training.resolve import Metrics, function_of, metrics_by_name, restricted
from trainlib.training.variables import assign, read
from trainlib.transforms.decay import Mask
from trainlib.transforms.inject import hyperparam, set_hyperparams

EVALUATION_BATCH_SIZE = 512


class Trainer:
    """Trains a model: places its `TrainState` in variables and runs many steps a call.

        trainer = Trainer(model, "sparse_categorical_crossentropy", tl.nadam(1e-3),
                          metrics=["accuracy"])
        history = trainer.fit((x, y), batch_size=32, epochs=5, validation_data=(xv, yv))
        trainer.evaluate((x, y));  trainer.predict(x);  trainer.state

    Data are pairs (x, y) or triples (x, y, sample_weight) of arrays, x and y also structures of
    arrays: put on the device once, or where they are large, or on a disk (`np.memmap`), a part at
    a time. Or they are batches of these, from a `tf.data.Dataset`, another iterable, or a function
    that returns one. The last batch of an epoch may be smaller, and counts with its true weight.

    Args:
        model: a built Keras model, or a `FunctionalModel` of any function and its parameters.
        loss: a name of the registry, or `(y_true, y_pred) -> loss of each example`.
        optimizer: an `Optimizer`.
        metrics: names of the registry, or functions `(y_true, y_pred) -> value of each example`;
            or a mapping from names of one's own to these and to `Metric`s.
        regularizer: a penalty on the parameters of the regularizer_mask.
        regularizer_mask: by default `kernels`, the parameters of two or more axes: not biases. Or
            a function of a parameter's path, a regular expression that must match the whole of a
            path, a structure of bools, or None for all the parameters.
        seed: an int of at least 0; the order of examples and dropout follow from it.
        precision: "float32", "float64", "mixed_bfloat16" or "mixed_float16", whatever the model
            was built in; None for that.
        loss_scale: of `dynamic_loss_scale` or `static_loss_scale`; None: none; "auto": the dynamic
            one with mixed_float16. The history then tells the scale, how many steps were skipped,
            and, at the last of these, the first parameter whose gradient was not finite.
        strategy: "one_device"; "mirrored", for several devices of this machine; "multi_worker", for
            the processes that TF_CONFIG names, which must all make the same calls; "auto" takes
            what there is. A processor is divided into devices before a model is made:
            `tl.mirrored(2)`.
        replicas: of "mirrored"; None: all accelerators.
        execution: "graph"; "xla", compiled whole; "xla_update", a graph of which the update is
            compiled; or "auto", which measures them where a run takes long.
        nonfinite: what becomes of a step whose loss or gradients are not finite. "none": what the
            optimizer makes of it. "epoch": the same, but `fit` raises a `NonFiniteError` after an
            epoch whose loss is not finite. Else each step is looked at, which takes some time; a
            bad one changes nothing, and its loss is left out of the results. "skip": it is
            counted, and the run goes on. "stop": `fit` raises a `NonFiniteError`.
            "roll_back": `fit` goes back to the newest checkpoint, and on behind the batches since
            then; it raises where that was in vain. A dynamic loss scale is first left to find a
            scale that suits.
        norms: whether the history tells the mean norms of the gradients and of the updates, too, as
            "gradient_norm" and "update_norm"; see `train_step`.
        report: schedules to report at the end of each epoch, by name: the learning rate, say.

    Raises:
        ValueError, TypeError: an argument of another kind, or out of its range.
    """

    def __init__(
        self,
        model: Any,
        loss: str | Loss,
        optimizer: Optimizer,
        *,
        metrics: Metrics = (),
        regularizer: Regularizer | None = None,
        regularizer_mask: Mask = kernels,
        seed: int = 0,
        precision: str | None = None,
        loss_scale: str | LossScale | None = "auto",
        strategy: str = "auto",
        replicas: int | None = None,
        execution: str = "auto",
        nonfinite: str = "none",
        norms: bool = False,
        report: Mapping[str, Schedule] | None = None,
    ) -> None:
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"optimizer must be an Optimizer such as tl.adam(), got {optimizer!r}")
        check_integer("seed", seed, at_least=0, at_most=2**63 - 1)
        check_choice("nonfinite", nonfinite, POLICIES)
        self.model = model
        self.strategy = strategy_named(strategy, replicas)
        alone = self.strategy is None
        self.execution = (
            default_execution(execution, model, precision)
            if alone
            else default_execution(execution, None)
        )
        measured = execution == "auto" and precision != "mixed_float16"
        self._unsettled = measured and not is_multi_worker(self.strategy)  # they could disagree
        self._asked, self._speeds = execution, dict[str, float]()
        pure = as_functional_model(model, seed, precision, synchronized=not alone)
        self.nonfinite, guarded = nonfinite, nonfinite not in UNGUARDED
        scaling = _loss_scaling(loss_scale, precision)
        self.programs = programs_of(
            self.strategy,
            model,
            pure,
            function_of("loss", loss),
            optimizer,
            metrics_by_name(metrics),
            restricted(regularizer, regularizer_mask, pure.params),
            scaling,
            seed,
            norms,
            guarded,
            nonfinite in HALTING,
        )
        self._variables = self.programs.variables
        counted = scaling is not None or nonfinite in ("skip", "roll_back")
        self.reports = Reports(self.programs, report or {}, scaling is not None, counted)

    @property
    def state(self) -> TrainState:
        """All that the run is, as tensors; assign one to go on from there."""
        return self.programs.read()

    @state.setter
    def state(self, state: TrainState) -> None:
        _check_fits("state", self._variables, state)
        assign(self._variables, state)

    @property
    def traces(self) -> int:
        """How many functions were traced."""
        return self.programs.traces

    @property
    def weights(self) -> tuple[Tree, Tree]:
        """The model's parameters and its other state, as tensors; assign them to restore them."""
        weights: tuple[Tree, Tree] = read((self._variables.params, self._variables.model_state))
        return weights

    @weights.setter
    def weights(self, weights: tuple[Tree, Tree]) -> None:
        variables = self._variables.params, self._variables.model_state
        _check_fits("weights", variables, weights)
        assign(variables, weights)

    def hyperparam(self, name: str) -> float:
        """The value that a hyperparameter has now in the optimizer's state.

        Raises:
            ValueError: the state does not hold it, or with several values.
        """
        return hyperparam(self._variables.opt_state, name)

    def set_hyperparams(self, **hyperparams: float) -> None:
        """Changes hyperparameters in the optimizer's state, as `tl.set_hyperparams` does.

        For optimizers made by `inject_hyperparams` or `param_rules`; nothing is traced anew.
        """
        old = self._variables.opt_state
        new = set_hyperparams(old, **hyperparams)
        for variable, x in zip(tf.nest.flatten(old), tf.nest.flatten(new), strict=True):
            if x is not variable:
                variable.assign(x)

    def fit(
        self,
        data: Data,
        *,
        batch_size: int | None = None,
        epochs: int = 1,
        shuffle: bool = True,
        steps_per_epoch: int | None = None,
        validation_data: Data | None = None,
        callbacks: Sequence[Any] = (),
        checkpoints: Checkpoints | str | os.PathLike[str] | None = None,
        resume: bool = False,
    ) -> list[Results]:
        """Trains for some epochs, each over all the data.

        Args:
            data: arrays (x, y) or (x, y, sample_weight), or a source of batches of these.
            batch_size: examples of a batch, by default 32; for arrays alone.
            epochs: at least 1.
            shuffle: whether each epoch takes the examples in a random order of its own, which
                follows from the seed and the epoch; for arrays alone.
            steps_per_epoch: batches of an epoch, the next of which goes on behind them; for
                sources alone, and needed where they never end.
            validation_data: like data.
            callbacks: `tl.callbacks.Callback`s and functions, which are told how the run goes, in
                this order; functions after each epoch.
            checkpoints: where they are saved when a callback such as `tl.callbacks.SaveEvery`
                asks for it: a `tl.Checkpoints`, or its folder.
            resume: whether to go on from the newest checkpoint there, if there is one: to the same
                bits as without the break, given the same arguments, model and callbacks.

        Returns:
            A dict for each epoch: epoch, step, the loss and the metrics over the epoch, the same
            with `val_` in front over the validation data, what is reported, and the seconds.

        Raises:
            ValueError, TypeError: an argument of another kind, or out of its range; a checkpoint
                of another run.
            OSError: a checkpoint cannot be written.
            NonFiniteError: as `nonfinite` has it.
        """
        if resume and checkpoints is None:
            raise ValueError("resume needs checkpoints, the folder of those to go on from")
        run = self.run_of(
            Run,
            data,
            batch_size=batch_size,
            epochs=epochs,
            shuffle=shuffle,
            steps_per_epoch=steps_per_epoch,
            validation_data=validation_data,
            callbacks=callbacks,
            checkpoints=checkpoints,
        )
        if resume:
            run.resume()
        elif run.checkpoints is not None and run.checkpoints.places():
            raise ValueError(
                f"checkpoints: {run.checkpoints.folder} holds those of another run: take another "
                "folder, or go on with that run by resume=True"
            )
        chunks = self._settled(run.chunks(), epochs * (run.steps or 0))
        try:
            return run.go(chunks)
        finally:
            self._update_model()
            if run.checkpoints is not None:
                run.checkpoints.wait()

    def run_of(
        self,
        kind: Callable[..., Run],
        data: Data,
        *,
        batch_size: int | None = None,
        epochs: int = 1,
        shuffle: bool = True,
        steps_per_epoch: int | None = None,
        validation_data: Data | None = None,
        callbacks: Sequence[Any] = (),
        checkpoints: Checkpoints | str | os.PathLike[str] | None = None,
    ) -> Run:
        """A run of some kind, of what `fit` takes; it has not begun."""
        check_integer("epochs", epochs, at_least=1)
        callbacks = [*callbacks_for_policy(self.nonfinite), *map(as_callback, callbacks)]
        feed = self._feed("data", data, batch_size, steps=steps_per_epoch)
        held_out = None
        if validation_data is not None:
            held_out = self._feed("validation_data", validation_data, default=EVALUATION_BATCH_SIZE)
        if checkpoints is not None and not isinstance(checkpoints, Checkpoints):
            checkpoints = Checkpoints(checkpoints)
        return kind(self, feed, held_out, epochs, shuffle, callbacks, checkpoints)

    def settle_execution(self, data: Feed, *, epochs: int = 1) -> dict[str, float]:
        """Chooses how steps are executed, for a `fit` over these data, which does so itself.

        With execution "auto" and a run that would take long, each way is timed on the first
        batches, and `trainer.execution` is the autotune; the state stays as it is. What was
        chosen is kept in the user's cache for the next run of this kind.

        Args:
            data: as `trainlib.training.input_pipeline.as_feed` makes them of what `fit` takes.
            epochs: of that run.

        Returns:
            Steps per second by way; empty where nothing was measured.
        """
        if self._unsettled and isinstance(data, Arrays):  # a stream cannot be read twice
            order = epoch_order(int(self._variables.seed.numpy()), 0, data.size)
            self._settled(data.training(order), epochs * data.batches())
        return self._speeds

    def _settled(self, chunks: Iterator[Chunk], steps: int) -> Iterator[Chunk]:
        """The same chunks, after the first of them has served to choose the execution."""
        if not self._unsettled:
            return chunks
        self._unsettled = False
        first = next(chunks)
        specs = specs_of(first.examples)
        before, traces = self.state, self.traces
        programs, rule = self.programs, self.execution

        def run(execution: str, count: int) -> None:
            program = programs.train(execution, first.rows, specs)
            no_records = programs.no_records(execution, specs, training=True)
            records = program(
                *call(first, first.start, first.start + count * first.rows), no_records
            )
            records["loss"].total.numpy()

        def graph() -> Any:
            program: Any = programs.train(rule, first.rows, specs)
            return program.get_concrete_function().graph

        shapes = repr(
            [first.rows, specs, *((v.shape, v.dtype) for v in tf.nest.flatten(self._variables))]
        )
        try:
            self.execution, self._speeds = autotune(
                rule, run, graph, steps, (first.stop - first.start) // first.rows, shapes
            )
        finally:
            self.state, programs.traces = before, traces
        return itertools.chain([first], chunks)

    def evaluate(self, data: Data, batch_size: int | None = None) -> Results:
        """The loss and the metrics over the data, the model in inference mode.

        Args:
            data: as for `fit`.
            batch_size: examples computed at once, by default 512; for arrays alone.
        """
        feed = self._feed("data", data, batch_size, default=EVALUATION_BATCH_SIZE)
        *_, records = self.evaluated(feed)
        return self.reports.results(records)

    def evaluated(self, feed: Feed) -> Iterator[MetricStates]:
        """The records of the data so far, after each call to the device."""
        records = None
        for chunk in feed.evaluation():
            specs = specs_of(chunk.examples)
            if records is None:
                records = self.programs.no_records(self.execution, specs)
            program = self.programs.evaluate(self.execution, chunk.rows, specs)
            records = program(*call(chunk, 0, chunk.stop), records)
            yield records

    def predict(self, x: Any, batch_size: int = EVALUATION_BATCH_SIZE) -> np.ndarray:
        """The predictions for x as a NumPy array, the model in inference mode."""
        parts = []
        for chunk in Arrays("x", (x,), batch_size).evaluation():
            program = self.programs.predict(self.execution, specs_of(chunk.examples))
            for start in range(0, chunk.stop, chunk.rows):
                rows = slice(start, min(start + chunk.rows, chunk.stop))
                batch = tf.nest.map_structure(lambda a: a[rows], chunk.examples)  # noqa: B023
                parts.append(program(*batch).numpy())
        return np.concatenate(parts)

    def _feed(self, name: str, data: Data, batch_size: int | None = None, **options: Any) -> Feed:
        """The data; over workers only arrays, which all of them divide into the same chunks."""
        feed = as_feed(name, data, batch_size, **options)
        if isinstance(feed, Stream) and is_multi_worker(self.strategy):
            raise ValueError(f"{name} must be arrays on several workers, got a source of batches")
        return feed

    def take_execution(self, execution: str) -> None:
        """Takes what a checkpoint was made with, unless another one was asked for."""
        if self._asked == "auto":
            self.execution, self._unsettled = execution, False

    def _update_model(self) -> None:
        """Gives the Keras model the trained values."""
        if not isinstance(self.model, FunctionalModel):
            write_back(self.model, self._variables.params, self._variables.model_state)


def _loss_scaling(loss_scale: Any, precision: str | None) -> LossScale | None:
    """What "auto" stands for, and all else as it is."""
    if loss_scale == "auto":
        return dynamic_loss_scale() if precision == "mixed_float16" else None
    check_loss_scale(loss_scale)
    scaling: LossScale | None = loss_scale
    return scaling


def _check_fits(name: str, variables: Tree, values: Tree) -> None:
    """Raises unless the values have the structure and the shapes of the variables."""
    check_same_structure(f"the trainer's {name}", variables, name, values)
    for variable, x in zip(tf.nest.flatten(variables), tf.nest.flatten(values), strict=True):
        if not variable.shape.is_compatible_with(np.shape(x)):
            raise ValueError(
                f"{name} must have the trainer's shapes: got {list(np.shape(x))} "
                f"for {list(variable.shape)}"
            )
