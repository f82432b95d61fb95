"""`Trainer`: the one class that a user meets."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from trainlib.base import Optimizer, Schedule, Tensor, Tree
from trainlib.callbacks.base import Callback, Progress
from trainlib.checks import check_integer
from trainlib.loop.execution import choose_execution
from trainlib.loop.order import epoch_order
from trainlib.loop.stateless import Stateless, from_keras, write_back
from trainlib.losses import Loss
from trainlib.metrics import Mean, Metric
from trainlib.registry import lookup
from trainlib.regularizers import Regularizer
from trainlib.step import TrainState, eval_step, init_state, predict_step, train_step
from trainlib.tree import check_same_structure

SECONDS_PER_CALL = 0.25
"""About how long a call to the device lasts: between calls a bar is drawn and Ctrl-C is heard."""


class Trainer:
    """Trains a model: places its `TrainState` in variables and runs many steps a call.

        trainer = Trainer(model, "sparse_categorical_crossentropy", tl.nadam(1e-3),
                          metrics=["accuracy"])
        history = trainer.fit((x, y), batch_size=32, epochs=5, validation_data=(xv, yv))
        trainer.evaluate((x, y));  trainer.predict(x);  trainer.state

    Data are pairs (x, y) or triples (x, y, sample_weight) of arrays, x and y also structures of
    arrays. They are put on the device once. The last batch of an epoch is smaller where the
    batch size does not divide the data, and counts with its true weight.

    Args:
        model: a built Keras model, or a `Stateless` of any function and its parameters.
        loss: a name of the registry, or `(y_true, y_pred) -> loss of each example`.
        optimizer: an `Optimizer`.
        metrics: names of the registry, or functions `(y_true, y_pred) -> value of each example`.
        regularizer: a penalty on the kernels: the parameters of two or more axes.
        seed: an int of at least 0; the order of examples and dropout follow from it.
        execution: "graph", "xla" (compiled whole), or "auto".
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
        metrics: Sequence[str | Metric] = (),
        regularizer: Regularizer | None = None,
        seed: int = 0,
        execution: str = "auto",
        report: Mapping[str, Schedule] | None = None,
    ) -> None:
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"optimizer must be an Optimizer such as tl.adam(), got {optimizer!r}")
        check_integer("seed", seed, at_least=0, at_most=2**63 - 1)
        self.model = model
        self.execution = choose_execution(execution, model)
        self.traces = 0
        self._report = dict(report or {})
        apply_fn, params, model_state = (
            model if isinstance(model, Stateless) else from_keras(model, seed)
        )
        loss_fn: Loss = _function("loss", loss)
        options: Any = {"metrics": _by_name(metrics), "regularizer": _on_kernels(regularizer)}
        self._train_step = train_step(apply_fn, loss_fn, optimizer, **options)
        self._eval_step = eval_step(apply_fn, loss_fn, **options)
        self._predict_step = predict_step(apply_fn)
        self._records = ["loss", *options["metrics"]]
        self._variables = tf.nest.map_structure(
            tf.Variable, init_state(params, model_state, optimizer, seed)
        )
        self._compiled: dict[tuple[str, int, str], Callable[..., Any]] = {}

    @property
    def state(self) -> TrainState:
        """All that the run is, as tensors; assign one to go on from there."""
        state: TrainState = _read(self._variables)
        return state

    @state.setter
    def state(self, state: TrainState) -> None:
        check_same_structure("the trainer's state", self._variables, "state", state)
        for variable, x in zip(
            tf.nest.flatten(self._variables), tf.nest.flatten(state), strict=True
        ):
            if not variable.shape.is_compatible_with(np.shape(x)):
                raise ValueError(
                    f"state must have the trainer's shapes: got {list(np.shape(x))} "
                    f"for {list(variable.shape)}"
                )
        _assign(self._variables, state)

    def fit(
        self,
        data: tuple[Any, ...],
        *,
        batch_size: int = 32,
        epochs: int = 1,
        validation_data: tuple[Any, ...] | None = None,
        callbacks: Sequence[Callback] = (),
    ) -> list[dict[str, float]]:
        """Trains for some epochs, each over all the data in an order of its own.

        Returns:
            A dict for each epoch: epoch, step, the loss and the metrics over the epoch, the same
            with `val_` in front over the validation data, what is reported, and the seconds.
        """
        check_integer("batch_size", batch_size, at_least=1)
        check_integer("epochs", epochs, at_least=1)
        examples, size = _place_pairs("data", data)
        held_out = None
        if validation_data is not None:
            held_out = _place_pairs("validation_data", validation_data)[0]
        steps = -(-size // batch_size)
        first = int(self._variables.step.numpy()) // steps
        history = []
        try:
            for epoch in range(epochs):
                order = epoch_order(self._variables.seed, first + epoch, size)
                results = self._epoch(
                    examples,
                    order,
                    batch_size,
                    Progress(epoch + 1, epochs, 0, steps, dict),
                    held_out,
                    callbacks,
                )
                history.append(results)
        finally:
            self._update_model()
            for callback in callbacks:
                callback.on_end()
        return history

    def evaluate(self, data: tuple[Any, ...], batch_size: int = 512) -> dict[str, float]:
        """The loss and the metrics over the data, the model in inference mode."""
        check_integer("batch_size", batch_size, at_least=1)
        examples, size = _place_pairs("data", data)
        filled = -(-size // batch_size) * batch_size
        order = tf.minimum(tf.range(filled, dtype=tf.int64), size - 1)
        run = self._runner("evaluate", batch_size, examples)
        return _results(run(examples, order, _int64(0), _int64(size), self._no_records()))

    def predict(self, x: Any, batch_size: int = 512) -> np.ndarray:
        """The predictions for x as a NumPy array, the model in inference mode."""
        check_integer("batch_size", batch_size, at_least=1)
        placed, size = _place("x", (x,))
        run = self._runner("predict", 0, placed)
        parts = []
        for start in range(0, size, batch_size):
            rows = tf.nest.map_structure(lambda a: a[start : start + batch_size], placed)  # noqa: B023
            parts.append(run(*rows).numpy())
        return np.concatenate(parts)

    def _epoch(
        self,
        examples: Tree,
        order: Tensor,
        batch_size: int,
        progress: Progress,
        held_out: Tree | None,
        callbacks: Sequence[Callback],
    ) -> dict[str, float]:
        """Runs an epoch in calls of about SECONDS_PER_CALL; its line of the history."""
        began = time.monotonic()
        size = int(order.shape[0])
        full, rest = divmod(size, batch_size)
        records, position, count = self._no_records(), 0, 1
        while position < progress.steps:
            rows = batch_size if position < full else rest
            count = min(count, full - position) if position < full else 1
            called = time.monotonic()
            start = position * batch_size
            stop = start + count * rows
            run = self._runner("train", rows, examples)
            records = run(examples, order, _int64(start), _int64(stop), records)
            position += count
            progress = progress._replace(
                position=position,
                metrics=functools.partial(self._so_far, records),
            )
            for callback in callbacks:
                callback.on_step(progress)
            elapsed = max(time.monotonic() - called, 1e-9)
            count = max(1, min(int(count * SECONDS_PER_CALL / elapsed), 16 * count))
        results: dict[str, float] = {
            "epoch": progress.epoch,
            "step": int(self._variables.step.numpy()),
        }
        results |= _results(records)
        seconds = time.monotonic() - began
        if held_out is not None:
            results |= {f"val_{k}": x for k, x in self.evaluate(held_out).items()}
        results |= self._reported() | {"seconds": seconds}
        for callback in callbacks:
            callback.on_epoch(progress, results)
        return results

    def _runner(self, kind: str, batch_size: int, data: Tree) -> Callable[..., Any]:
        """The compiled function of that kind for batches of that size, made at its first use.

        The number of examples is left open: another data set of the same kind traces nothing.
        """
        specs = tf.nest.map_structure(lambda a: tf.TensorSpec([None, *a.shape[1:]], a.dtype), data)
        key = kind, batch_size, repr(specs)
        if key not in self._compiled:
            make = {"train": self._train_loop, "evaluate": self._eval_loop}.get(kind)
            run = make(batch_size) if make else self._predict_rows
            self._compiled[key] = tf.function(
                self._counting_traces(run),
                input_signature=specs if kind == "predict" else self._loop_signature(specs),
                jit_compile=self.execution == "xla",
                autograph=False,
            )
        return self._compiled[key]

    def _loop_signature(self, specs: Tree) -> list[Any]:
        """What a loop takes: examples, their order, the first position, the end, and records."""
        position = tf.TensorSpec([], tf.int64)
        number = tf.TensorSpec([], tf.float64)
        records = {name: Mean(number, number) for name in self._records}
        return [specs, tf.TensorSpec([None], tf.int64), position, position, records]

    def _counting_traces(self, run: Callable[..., Any]) -> Callable[..., Any]:
        def traced(*args: Any) -> Any:
            self.traces += 1
            return run(*args)

        return traced

    def _train_loop(self, batch_size: int) -> Callable[..., Any]:
        def one(examples: Tree, rows: Tensor, stop: Tensor, at: Tensor) -> dict[str, Mean]:
            last = at + batch_size >= tf.shape(tf.nest.flatten(examples)[0], tf.int64)[0]
            batch = _gather(examples, rows)
            state, records = self._train_step(_read(self._variables), batch, last)
            _assign(self._variables, state)
            return records

        return _loop(one, batch_size)

    def _eval_loop(self, batch_size: int) -> Callable[..., Any]:
        """Batches of one size: what a last one lacks is filled with rows of weight 0."""

        def one(examples: Tree, rows: Tensor, stop: Tensor, at: Tensor) -> dict[str, Mean]:
            x, y, *weight = _gather(examples, rows)
            counts = tf.cast(at + tf.range(batch_size, dtype=tf.int64) < stop, tf.float32)
            if weight:
                counts = tf.cast(counts, weight[0].dtype)
                counts = weight[0] * tf.reshape(counts, [-1] + [1] * (weight[0].shape.rank - 1))
            return self._eval_step(_read(self._variables), (x, y, counts))

        return _loop(one, batch_size)

    def _predict_rows(self, x: Tree) -> Tensor:
        return self._predict_step(_read(self._variables), x)

    def _no_records(self) -> dict[str, Mean]:
        return {name: Mean.empty() for name in self._records}

    def _so_far(self, records: dict[str, Mean]) -> dict[str, float]:
        return _results(records) | self._reported()

    def _reported(self) -> dict[str, float]:
        last = tf.maximum(self._variables.step - 1, 0)
        return {name: _shortest(schedule(last)) for name, schedule in self._report.items()}

    def _update_model(self) -> None:
        """Gives the Keras model the trained values."""
        if not isinstance(self.model, Stateless):
            write_back(self.model, self._variables.params, self._variables.model_state)


def _place_pairs(name: str, data: tuple[Any, ...]) -> tuple[Tree, int]:
    """`_place` for what must be (x, y) or (x, y, sample_weight)."""
    if not isinstance(data, tuple) or len(data) not in (2, 3):
        got = f"a tuple of {len(data)}" if isinstance(data, tuple) else type(data).__name__
        raise TypeError(f"{name} must be (x, y) or (x, y, sample_weight), got {got}")
    return _place(name, data)


def _place(name: str, data: tuple[Any, ...]) -> tuple[Tree, int]:
    """Arrays as tensors on the device, and the number of examples that they all have."""
    placed = tf.nest.map_structure(functools.partial(_tensor, name), data)
    sizes = {int(a.shape[0]) if a.shape.rank else 0 for a in tf.nest.flatten(placed)}
    if len(sizes) != 1 or sizes == {0}:
        raise ValueError(
            f"{name} must be arrays of one length above 0, got lengths {sorted(sizes)}"
        )
    return placed, sizes.pop()


def _tensor(name: str, array: Any) -> Tensor:
    """An array of numbers as a tensor."""
    try:
        tensor = tf.convert_to_tensor(array)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name} must be arrays of numbers: {error}") from None
    if tensor.dtype == tf.string:
        raise TypeError(f"{name} must be arrays of numbers, got one of strings")
    return tensor


def _loop(one: Callable[..., dict[str, Mean]], batch_size: int) -> Callable[..., Any]:
    """Batches one after another on the device, from position `start` of the order up to `stop`.

    The position is a variable of the loop: XLA would take a slice that begins at an argument for
    one that begins at a constant, and compile again for each of its values.
    """

    def run(
        examples: Tree, order: Tensor, start: Tensor, stop: Tensor, records: dict[str, Mean]
    ) -> dict[str, Mean]:
        def body(at: Tensor, records: dict[str, Mean]) -> tuple[Tensor, dict[str, Mean]]:
            new = one(examples, tf.slice(order, [at], [batch_size]), stop, at)
            return at + batch_size, {k: record.merge(new[k]) for k, record in records.items()}

        merged: dict[str, Mean] = tf.while_loop(lambda at, _: at < stop, body, (start, records))[1]
        return merged

    return run


def _gather(examples: Tree, rows: Tensor) -> Tree:
    return tf.nest.map_structure(lambda a: tf.gather(a, rows), examples)


def _read(variables: Tree) -> Tree:
    return tf.nest.map_structure(lambda v: v.read_value(), variables)


def _assign(variables: Tree, values: Tree) -> None:
    tf.nest.map_structure(lambda v, x: v.assign(x), variables, values)


def _int64(x: int) -> Tensor:
    return tf.constant(x, tf.int64)


def _results(records: dict[str, Mean]) -> dict[str, float]:
    return {name: float(record.result()) for name, record in records.items()}


def _shortest(x: Tensor) -> float:
    """A number as it reads in its own dtype: 0.001, where float32 holds 0.0010000000474974513."""
    return float(str(x.numpy()))


def _by_name(metrics: Sequence[str | Metric]) -> dict[str, Metric]:
    """Metrics by name: those of the registry, or functions under their own names."""
    if isinstance(metrics, str):
        raise TypeError(f"metrics must be a list, got {metrics!r}: write [{metrics!r}]")
    named: dict[str, Metric] = {}
    for metric in metrics:
        function = _function("metric", metric)
        name = metric if isinstance(metric, str) else getattr(metric, "__name__", repr(metric))
        if name == "loss" or name in named:
            raise ValueError(
                f"two results are named {name!r}: give each metric a __name__ of its own"
            )
        named[name] = function
    return named


def _function(kind: str, named: Any) -> Any:
    """The function of that name in the registry, or the function itself."""
    if isinstance(named, str):
        return lookup(kind, named)
    if not callable(named):
        raise TypeError(f"{kind} must be a name or a function (y_true, y_pred), got {named!r}")
    return named


def _on_kernels(regularizer: Regularizer | None) -> Regularizer | None:
    """The regularizer over the parameters of two or more axes: not biases, not scales."""
    if regularizer is None:
        return None
    if not callable(regularizer):
        raise TypeError(f"regularizer must be a function such as tl.l2(), got {regularizer!r}")
    return lambda params: regularizer([w for w in tf.nest.flatten(params) if w.shape.rank > 1])
