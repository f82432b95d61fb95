"""The values of a Keras model's variables in a forward pass.

This module imports Keras; `keras_call` imports it at the first call, so that no command does before
it trains.
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from trainlib.core.types import Tensor


class VariableScope(keras.StatelessScope):  # type: ignore[misc]
    """The values of variables in a forward pass, and what it assigns to them."""

    def __init__(self, given: list[tuple[Any, Tensor]], trained: Any) -> None:
        super().__init__(given, collect_losses=True)
        self._given = {
            id(variable): (value, self.state_mapping[id(variable)]) for variable, value in given
        }
        self._trained = {id(variable) for variable in trained}
        self._assigned: set[int] = set()

    def get_current_value(self, variable: Any) -> Tensor:
        value = super().get_current_value(variable)
        return tf.stop_gradient(value) if id(variable) in self._assigned else value

    def add_update(self, update: tuple[Any, Tensor]) -> None:
        variable, value = update
        if id(variable) not in self._given:
            raise ValueError(
                f"the forward pass assigns the variable {variable.path!r}, which no layer of the "
                "model holds, so that training cannot carry it: make it by self.add_weight(..., "
                "trainable=False) in the layer that assigns it"
            )
        if id(variable) in self._trained:
            start = self.get_current_value(variable)
            value = tf.stop_gradient(value) + (start - tf.stop_gradient(start))
        else:  # what is read again has no gradient, as a variable that was assigned
            self._assigned.add(id(variable))
        super().add_update((variable, value))

    def value_of(self, variable: Any) -> Tensor:
        """Return the value after the pass, the given tensor itself where nothing was assigned."""
        given, start = self._given[id(variable)]
        value = self.state_mapping[id(variable)]
        return given if value is start else value
