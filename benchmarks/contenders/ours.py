"""trainlib: `Trainer.fit` and `Trainer.evaluate`, and an optimizer's update alone."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
from workloads import ADAM, CHECK_STEPS, LOSS_WEIGHTS, SEED, Workload

import trainlib as tl
from contenders import base
from contenders.keras_nets import make_model
from trainlib.registry import lookup
from trainlib.training.data_adapter import as_data_adapter

LONG_RUN = 10_000_000
"""A number of steps that takes any model longer than measuring the executions."""


def make_trainer(of: Workload, weights: list[np.ndarray], **options: Any) -> tl.Trainer:
    """Return a trainer with the workload's model and optimizer, and the defaults otherwise."""
    rate = of.learning_rate
    optimizer = tl.sgd(rate) if of.optimizer == "sgd" else tl.adam(rate, **ADAM)
    loss = lookup("loss", of.loss)
    if of.classes:
        loss = functools.partial(loss, from_logits=True)
    if of.net == "wide_deep":
        loss = dict.fromkeys(LOSS_WEIGHTS, loss)
        options["loss_weights"] = LOSS_WEIGHTS
    return tl.Trainer(make_model(of, weights), loss, optimizer, seed=SEED, **options)


class Training(base.Training):
    """Training with `Trainer.fit`.

    Args:
        shuffle: whether the trainer draws the order of the examples in the timed part.
        precision: precision of the trainer.
        threads: number of threads of an operation; None for as many as there are cores.
        **arguments: as of the base class.
    """

    def __init__(
        self,
        shuffle: bool = False,
        precision: str | None = None,
        threads: int | None = None,
        **arguments: Any,
    ) -> None:
        if threads is not None:
            tf.config.threading.set_intra_op_parallelism_threads(threads)
        self.draws_order, self.precision = shuffle, precision
        super().__init__(**arguments)

    def build(self, weights: list[np.ndarray]) -> None:
        self.trainer = make_trainer(self.workload, weights, precision=self.precision)

    def place(self, x: np.ndarray, y: np.ndarray) -> Any:
        placed: Any = tf.nest.map_structure(tf.constant, self.workload.structured(x, y))
        return placed

    place_evaluation = place

    def train(self, data: Any) -> float:
        return self._fit(data)

    def train_epochs(self, data: Any, validation: Any, epochs: int) -> float:
        return self._fit(data, epochs=epochs, validation_data=validation)

    def _fit(self, data: Any, **options: Any) -> float:
        options |= {"batch_size": self.workload.batch_size, "shuffle": self.draws_order}
        return float(self.trainer.fit(data, **options)[-1]["loss"])

    def evaluate(self, data: Any) -> float:
        return float(self.trainer.evaluate(data, batch_size=base.EVALUATION_BATCH)["loss"])

    def steps_made(self) -> int:
        return int(self.trainer.state.step)

    def settle(self) -> dict[str, float]:
        """Let "auto" measure, as for a long run, and return the steps per second by execution."""
        os.environ["TRAINLIB_CACHE"] = str(
            self.folder / "cache"
        )  # stored results would not be measured
        self.load("check_order", CHECK_STEPS)
        adapter = as_data_adapter("data", self.data, self.workload.batch_size)
        return self.trainer.autotune(adapter, epochs=LONG_RUN // CHECK_STEPS)

    def accelerators(self) -> int:
        """Return the number of GPUs."""
        return len(tf.config.list_physical_devices("GPU"))

    def execution(self) -> str:
        """Return the execution that "auto" chose."""
        return str(self.trainer.execution)

    def run_forward(self) -> dict[str, float]:
        """Compute the model's outputs alone, in one call, for comparison with evaluation."""
        evaluate, self.evaluate = self.evaluate, lambda data: float(self._outputs(data[0]))
        try:
            return self.run_evaluation()
        finally:
            self.evaluate = evaluate

    @functools.cached_property
    def _outputs(self) -> Callable[[Any], Any]:
        """Function of the examples that returns the sum of the outputs, computed by batch."""
        model = self.trainer.model

        @tf.function(jit_compile=self.execution() == "xla", autograph=False)
        def outputs(x: Any) -> Any:
            batches = tf.nest.map_structure(
                lambda a: tf.reshape(a, [-1, base.EVALUATION_BATCH, *a.shape[1:]]), x
            )

            def add(i: Any, total: Any) -> tuple[Any, Any]:
                y_pred = model(tf.nest.map_structure(lambda a: a[i], batches), training=False)
                return i + 1, total + sum(map(tf.reduce_sum, tf.nest.flatten(y_pred)))

            count = tf.shape(tf.nest.flatten(batches)[0])[0]
            return tf.while_loop(lambda i, _: i < count, add, (0, 0.0))[1]

        return outputs


class Updating(base.Updating):
    """`update` and `apply_updates` between variables, as a graph and under XLA."""

    def ways(
        self, optimizer: str, params: list[np.ndarray], grads: list[np.ndarray]
    ) -> dict[str, Callable[[int], None]]:
        case = base.plain_case(optimizer)
        made = lookup("optimizer", optimizer)(
            learning_rate=2.0**-10, **(case.options if case else {})
        )
        ways = {"ours": True, "ours_graph": False}
        return {way: self._way(made, params, grads, jit) for way, jit in ways.items()}

    def _way(self, optimizer: Any, params: Any, grads: Any, jit: bool) -> Callable[[int], None]:
        weights = [tf.Variable(w) for w in params]
        state = tf.nest.map_structure(tf.Variable, optimizer.init(weights))
        given = [tf.constant(g) for g in grads]

        @tf.function(jit_compile=jit, autograph=False)
        def update(grads: list[Any]) -> None:
            before = tf.nest.map_structure(lambda v: v.read_value(), (weights, state))
            updates, after = optimizer.update(grads, before[1], before[0])
            new = tl.apply_updates(before[0], updates), after
            tf.nest.map_structure(lambda v, x: v.assign(x), (weights, state), new)

        def run(count: int) -> None:
            for _ in range(count):
                update(given)
            weights[-1].numpy()

        return run
