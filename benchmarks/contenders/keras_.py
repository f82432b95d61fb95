"""Keras: `Model.fit` and `Model.evaluate`, and `Optimizer.apply` alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from workloads import ADAM, CHECK_STEPS, LOSS_WEIGHTS, Workload, workload

from contenders import base
from contenders.keras_nets import make_loss, make_model

SHORT_STEPS = 1000
"""Steps of a run from which a step is so short that many steps per execution are tried."""
KERAS_DEFAULT_BATCH = 32
"""Default batch size of `Model.evaluate`."""


def compiled_model(of: Workload, weights: list[np.ndarray], **options: Any) -> Any:
    """Return the workload's model with its optimizer and loss, and options of `compile`."""
    model = make_model(of, weights)
    optimizer = (
        keras.optimizers.SGD(of.learning_rate)
        if of.optimizer == "sgd"
        else keras.optimizers.Adam(of.learning_rate, **ADAM)
    )
    weights_of_losses = LOSS_WEIGHTS if of.net == "wide_deep" else None
    model.compile(optimizer, make_loss(of), loss_weights=weights_of_losses, **options)
    return model


class Training(base.Training):
    """Training with `Model.fit`.

    Args:
        searched: arguments of `compile` that a `Search` found; None for the defaults.
        **arguments: as of the base class.
    """

    def __init__(self, searched: dict[str, Any] | None = None, **arguments: Any) -> None:
        self.searched = searched
        super().__init__(**arguments)

    def build(self, weights: list[np.ndarray]) -> None:
        self.model = compiled_model(self.workload, weights, **(self.searched or {}))
        self.optimizer = self.model.optimizer

    def place(self, x: np.ndarray, y: np.ndarray) -> Any:
        placed: Any = tf.nest.map_structure(tf.constant, self.workload.structured(x, y))
        return placed

    place_evaluation = place

    def train(self, data: Any) -> float:
        return self._fit(data)

    def train_epochs(self, data: Any, validation: Any, epochs: int) -> float:
        size = self._evaluation_batch
        return self._fit(
            data, epochs=epochs, validation_data=validation, validation_batch_size=size
        )

    def _fit(self, data: Any, **options: Any) -> float:
        options |= {"batch_size": self.workload.batch_size, "shuffle": False, "verbose": 0}
        return float(self.model.fit(*data, **options).history["loss"][-1])

    @property
    def _evaluation_batch(self) -> int:
        return KERAS_DEFAULT_BATCH if self.searched is None else base.EVALUATION_BATCH

    def evaluate(self, data: Any) -> float:
        options = {"batch_size": self._evaluation_batch, "verbose": 0, "return_dict": True}
        return float(self.model.evaluate(*data, **options)["loss"])

    def steps_made(self) -> int:
        return int(self.optimizer.iterations.numpy())


class Search:
    """Search for the arguments of `compile` with which `Model.fit` is fastest."""

    STEPS = {"tiny": 2000, "wide": 400, "cnn": 200, "lstm": 200, "gru": 200, "wide_deep": 2000}
    """Steps of a trial: a few seconds of a model."""

    def __init__(self, folder: str, name: str, quick: bool) -> None:
        self.arguments = {"folder": folder, "name": name, "quick": quick}
        of = workload(name)
        self.warm_steps = of.check_steps
        long = self.warm_steps == CHECK_STEPS and not quick
        self.steps = self.STEPS.get(name, 1000) if long else self.warm_steps
        short_steps = of.steps >= SHORT_STEPS and not quick
        self.sizes = (1, 10, 50, 200) if short_steps else (1, 10)

    def best(self) -> dict[str, Any]:
        """Return the best arguments, and the steps per second of all that were tried.

        jit_compile="auto" is not tried: it means True where every layer can be compiled, as here.
        If single steps are less than half as fast compiled as they are not compiled, several steps
        per execution are not tried.
        """
        rates: dict[tuple[bool, int], float] = {}
        for jit in (False, True):
            for size in self.sizes:
                if jit and size > 1 and rates[True, 1] < rates[False, 1] / 2:
                    break
                rates[jit, size] = self._rate({"jit_compile": jit, "steps_per_execution": size})
        jit, size = max(rates, key=lambda setting: rates[setting])
        tried = {f"jit_compile={j}, steps_per_execution={k}": r for (j, k), r in rates.items()}
        return {"best": {"jit_compile": jit, "steps_per_execution": size}, "tried": tried}

    def _rate(self, setting: dict[str, Any]) -> float:
        training = Training(searched=setting, **self.arguments)
        training.prepare(0, self.warm_steps)
        training.run()
        training.prepare(0, self.steps)
        runs = [training.run() for _ in range(2)]
        return self.steps / min(run["seconds"] for run in runs)


class Updating(base.Updating):
    """`optimizer.apply` in a function of TensorFlow, as a graph and under XLA."""

    def ways(
        self, optimizer: str, params: list[np.ndarray], grads: list[np.ndarray]
    ) -> dict[str, Callable[[int], None]]:
        case = base.plain_case(optimizer)
        peer = case and case.peers.get("keras")
        if peer is None or not hasattr(keras.optimizers, peer.name):
            return {}
        return {
            f"keras_{way}": self._way(peer, params, grads, way == "xla") for way in ("graph", "xla")
        }

    def _way(self, peer: Any, params: Any, grads: Any, jit: bool) -> Callable[[int], None]:
        variables = [keras.Variable(w) for w in params]
        optimizer = getattr(keras.optimizers, peer.name)(learning_rate=2.0**-10, **peer.options)
        optimizer.build(variables)
        given = [tf.constant(g) for g in grads]

        @tf.function(jit_compile=jit, autograph=False)
        def update(grads: list[Any]) -> None:
            optimizer.apply(grads, variables)

        def run(count: int) -> None:
            for _ in range(count):
                update(given)
            optimizer.iterations.numpy()

        return run
