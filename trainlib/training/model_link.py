"""`ModelLink`: copies values between a Keras model and its training state."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from trainlib.core.types import Tensor
from trainlib.metrics.base import by_value_name
from trainlib.step.state import TrainState
from trainlib.training.adapted_layers import finalize_statistics
from trainlib.training.automatic_names import automatic_kinds
from trainlib.training.averages import averaged_variables
from trainlib.training.embedding_rows import embeddings_of_input
from trainlib.training.keras_private import all_layers, metrics_of
from trainlib.training.model_variables import SEED_STATE, model_variables

EVALUATION_STEPS = ("test_step", "compute_loss")
"""Methods by which a Keras model changes its evaluation."""


class ModelLink:
    """A Keras model whose values are in the variables of a training state.

    After each `fit` the values of the state are assigned to the model. Values that the user assigns
    to the model between two calls are copied into the state; a change of `trainable` is refused.

    Args:
        model: the Keras model of a trainer.
        state: the `TrainState` as variables.

    Attributes:
        model: as above.
        metrics: the metrics of layers, by name.
        automatic_kinds: names that Keras gave to layers, without their numbers.
        embeddings: embedding layers that take the model's only input.
    """

    def __init__(self, model: Any, state: TrainState) -> None:
        self.model, self._state, self._averaged = model, state, averaged_variables(state)
        self._flags, self._variables = _trainable_flags(model), _all_variables(model)
        self._layers = all_layers(model)
        self._values = {path: _value(v) for path, v in self._variables.items()}
        self.automatic_kinds = automatic_kinds(model)
        self.embeddings = embeddings_of_input(model)
        self.metrics = {m.name: m for layer in self._layers for m in metrics_of(layer)}

    def check_trainable(self) -> None:
        """Raise `ValueError` if a layer was frozen or unfrozen since the trainer was made."""
        now = _trainable_flags(self.model)
        changed = [name for name in self._flags if now.get(name) != self._flags[name]]
        if changed:
            names = ", ".join(dict.fromkeys(name.split("/")[0] for name in changed))
            raise ValueError(
                f"trainable has changed since the trainer was made, in {names}: make a new "
                "Trainer, whose optimizer has a state for what is trained now, or change it by "
                "tl.callbacks.Unfreeze"
            )

    def read(self) -> None:
        """Copy the values that were assigned to the model into the state, except random seeds.

        Raises:
            ValueError: the model has other layers than when the trainer was made.
        """
        layers = all_layers(self.model)
        if [id(layer) for layer in layers] != [id(layer) for layer in self._layers]:
            variables = _all_variables(self.model)
            names = sorted(set(variables) ^ set(self._variables)) or sorted(variables)
            raise ValueError(
                "the model has other layers than when the trainer was made, with variables such as "
                f"{names[0]!r}: make a new Trainer"
            )
        for path, variable in self._variables.items():
            value = _value(variable)
            if not _equal(value, self._values[path]) and not path.startswith(SEED_STATE):
                held = self._held(path)
                held.assign(tf.cast(value, held.dtype))
                if path in self._averaged:
                    self._averaged[path].assign(tf.cast(value, self._averaged[path].dtype))
            self._values[path] = value

    def reset_metrics(self) -> None:
        """Reset the metrics of layers, as Keras does before each epoch and evaluation."""
        with keras.StatelessScope() as scope:
            for metric in self.metrics.values():
                metric.reset_state()
        for path, variable in self._variables.items():
            value = scope.get_current_value(variable)
            if value is not None:
                self._held(path).assign(value)

    def metric_results(self) -> dict[str, Any]:
        """Return the values of the metrics of layers, by name.

        Each value of a metric with several named values has the name of the metric as its prefix.
        """
        if not self.metrics:
            return {}
        values = [(v, self._held(path).read_value()) for path, v in self._variables.items()]
        with keras.StatelessScope(values):
            results: dict[str, Any] = {}
            for name, metric in self.metrics.items():
                results |= by_value_name(name, metric.result())
        return {name: np.asarray(x, "float64").tolist() for name, x in results.items()}

    def write(self) -> None:
        """Assign the values of the state to the model; of averaged tensors the averages."""
        for path, variable in self._variables.items():
            variable.assign(tf.cast(self._averaged.get(path, self._held(path)), variable.dtype))
            self._values[path] = _value(variable)
        finalize_statistics(self.model)

    def _held(self, path: str) -> Any:
        """Return the variable of the state that holds the value of a variable of the model."""
        params = self._state.params
        return params[path] if path in params else self._state.model_state[path]


def check_steps(model: Any) -> None:
    """Raise `ValueError` if a Keras model defines its own steps, which no trainer calls."""
    _check_methods(model, ("train_step", *EVALUATION_STEPS), "Trainer", "train it by model.fit")


def check_evaluation_steps(model: Any) -> None:
    """Raise `ValueError` if a Keras model defines its own evaluation, which no evaluator calls."""
    _check_methods(model, EVALUATION_STEPS, "Evaluator", "evaluate it by model.evaluate")


def _check_methods(model: Any, names: tuple[str, ...], caller: str, instead: str) -> None:
    """Raise `ValueError` if the class of a Keras model overrides one of these methods."""
    for name in names:
        method = getattr(type(model), name, None)
        if method is not None and not method.__module__.startswith("keras."):
            raise ValueError(
                f"model {model.name!r} defines {name}, which tl.{caller} does not call: give its "
                f"loss by the argument loss, and add other terms by add_loss in its call; or "
                f"{instead}"
            )


def stateful_layer(model: Any) -> tuple[str, int] | None:
    """Return the name of the first stateful layer of a Keras model and its examples per batch.

    None for a model without one, and for a `FunctionalModel`.
    """
    for layer in all_layers(model) if hasattr(model, "stateless_call") else ():
        states = tf.nest.flatten(getattr(layer, "states", None) or [])
        if getattr(layer, "stateful", False) and states:
            return layer.name, int(states[0].shape[0])
    return None


def _all_variables(model: Any) -> dict[str, Any]:
    """Return all the variables of a model by path, in an order that freezing does not change."""
    trained, kept = model_variables(model)
    return dict(sorted({**trained, **kept}.items()))


def _trainable_flags(model: Any) -> dict[str, bool]:
    """Return whether each layer and each variable is trainable, by path."""
    layers = {layer.path or layer.name: layer.trainable for layer in all_layers(model)}
    flags = layers | {variable.path: variable.trainable for variable in model.variables}
    return {path.removeprefix(f"{model.name}/"): bool(flag) for path, flag in flags.items()}


def _value(variable: Any) -> Tensor:
    """Return the value of a Keras variable; it shares the variable's memory until it changes."""
    return tf.convert_to_tensor(variable.value)


def _equal(a: Tensor, b: Tensor) -> bool:
    """Return whether two tensors have the same values, NaN for NaN."""
    x, y = np.asarray(a), np.asarray(b)
    if x.ctypes.data == y.ctypes.data:
        return True
    return bool(np.all((x == y) | ((x != x) & (y != y))))
