"""The values of a Keras model's variables in a forward pass.

This module imports Keras; `keras_call` imports it at the first call, so that no command does before
it trains.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import keras
import tensorflow as tf

from trainlib.core.types import Tensor


class VariableScope(keras.StatelessScope):  # type: ignore[misc]
    """The values of variables in a forward pass, and the values that it assigns to them.

    Args:
        given: all variables of the model, each with its value.
        trained: the variables that are trained.

    Attributes:
        trained: the variables that are trained, a list.
    """

    def __init__(self, given: list[tuple[Any, Tensor]], trained: Iterable[Any]) -> None:
        super().__init__(given, collect_losses=True)
        self.trained = list(trained)
        self._variables = [variable for variable, _ in given]
        self._given = {
            id(variable): (value, self.state_mapping[id(variable)]) for variable, value in given
        }
        self._trained = {id(variable) for variable in self.trained}
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
        else:  # its value has no gradient when it is read again, as in a GradientTape
            self._assigned.add(id(variable))
        super().add_update((variable, value))

    def value_of(self, variable: Any) -> Tensor:
        """Return the value after the pass: the given tensor itself if none was assigned."""
        given, start = self._given[id(variable)]
        value = self.state_mapping[id(variable)]
        return given if value is start else value

    def current(self) -> list[tuple[Any, Tensor]]:
        """Return all variables with their values at this point of the pass."""
        return [(variable, self.get_current_value(variable)) for variable in self._variables]

    def assigned(self) -> Iterator[tuple[Any, Tensor]]:
        """Yield the variables that were assigned, with their values."""
        for variable in self._variables:
            value = self.state_mapping[id(variable)]
            if value is not self._given[id(variable)][1]:
                yield variable, value


class PartScope(VariableScope):
    """The values of variables in a part of a forward pass that is a function of trained variables.

    Args:
        given: all variables of the model, each with its value before the part.
        trained: the variables that are trained.
        arguments: values of the variables of which the part is a function, by id of the variable.
    """

    def __init__(
        self,
        given: list[tuple[Any, Tensor]],
        trained: Iterable[Any],
        arguments: Mapping[int, Tensor],
    ) -> None:
        super().__init__([(v, arguments.get(id(v), x)) for v, x in given], trained)
        self._arguments = set(arguments)
        self.initialize_variables = False  # none is made in a backward pass

    def get_current_value(self, variable: Any) -> Tensor:
        if id(variable) in self._trained and id(variable) not in self._arguments:
            raise ValueError(
                f"gradient_checkpointing: a layer reads the variable {variable.path!r}, which it "
                "does not hold, so that its gradient would be lost: keep the layer of the variable "
                "in an attribute of the one that reads it, or leave gradient_checkpointing out"
            )
        return super().get_current_value(variable)
