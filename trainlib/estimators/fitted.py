"""The trained model of an estimator: it predicts, and is pickled as weights and configuration."""

from __future__ import annotations

import copy
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from trainlib.experiment.config import ExperimentConfig
from trainlib.experiment.trial import TrialResult
from trainlib.experiment.user_functions import custom_objects
from trainlib.experiment.wiring import inputs_of, main_output
from trainlib.models.wide_deep import Wiring
from trainlib.training.functional_model import as_functional_model

ROWS = 4096
"""Examples that are predicted at once."""


class FittedModel:
    """A trained model without the objects of Keras, which are built when it first predicts.

    Attributes:
        config: the configuration of its training, with "auto" resolved.
        requested: the configuration as it was given.
        architecture: the Keras model without its weights, as JSON can hold it.
        weights: the weights, in the order of the Keras model.
        wiring: the inputs and outputs of the model.
        state: the training state, for fits that continue this one; None if it is not kept.
        epochs: epochs that it was trained, over all fits.
    """

    def __init__(
        self,
        result: TrialResult,
        requested: ExperimentConfig,
        wiring: Wiring,
        state: list[np.ndarray] | None,
        epochs: int,
    ) -> None:
        self.config: ExperimentConfig = result.config
        self.requested = requested
        self.architecture = result.architecture
        self.weights = result.weights
        self.wiring = wiring
        self.state = state
        self.epochs = epochs
        self._function: Any = None
        self.is_trusted = True  # it was made in this process, not read from a pickle

    def build_model(self) -> Any:
        """Return a new Keras model with these weights.

        Raises:
            ValueError: a module with custom layers cannot be imported.
        """
        import trainlib.models.custom_layers  # noqa: F401  (registers them with Keras)

        model = keras.saving.deserialize_keras_object(
            copy.deepcopy(self.architecture),  # Keras writes into it
            custom_objects(self.config),
            safe_mode=not self.is_trusted,
        )
        model.set_weights(self.weights)
        return model

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Return the predictions for inputs, of several outputs those of the main one.

        Args:
            x: the inputs, of the dtype that the model takes.
        """
        inputs = inputs_of(self.wiring, x)
        if self._function is None:
            self._function = self._compiled(inputs)
        parts = [self._predict(inputs, slice(i, i + ROWS)) for i in range(0, len(x), ROWS)]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _predict(self, inputs: Any, rows: slice) -> np.ndarray:
        """Return the predictions for some rows of the inputs.

        One row is predicted twice: a product of a matrix and a vector rounds in another order, and
        what is predicted for an example should not depend on the number of examples.
        """
        part = tf.nest.map_structure(lambda a: a[rows], inputs)
        size = len(tf.nest.flatten(part)[0])
        if size == 1:
            part = tf.nest.map_structure(lambda a: np.repeat(a, 2, axis=0), part)
        outputs = self._function(tf.nest.map_structure(tf.constant, part))
        predictions: np.ndarray = main_output(self.wiring, outputs).numpy()[:size]
        return predictions

    def _compiled(self, inputs: Any) -> Any:
        """Return the model as a compiled function of its inputs, for any number of examples."""
        model = as_functional_model(self.build_model(), precision=self.config.precision)

        def predict(x: Any) -> Any:
            return model.apply_fn(model.params, model.model_state, x, training=False).y_pred

        specs = tf.nest.map_structure(
            lambda a: tf.TensorSpec([None, *a.shape[1:]], a.dtype), inputs
        )
        return tf.function(predict, [specs], autograph=False).get_concrete_function()

    def __getstate__(self) -> dict[str, Any]:
        """Return what a pickle holds.

        Raises:
            ValueError: the model has a `Lambda` layer, which is code.
        """
        if _has_code(self.architecture):
            raise ValueError(
                "the model has a Lambda layer, whose code no pickle of an estimator holds: write a "
                "layer class in a module instead"
            )
        return self.__dict__ | {"is_trusted": False, "_function": None}


def _has_code(architecture: Any) -> bool:
    """Return whether the configuration of a Keras model holds a Python function by its code."""
    if isinstance(architecture, dict):
        if architecture.get("class_name") == "__lambda__":
            return True
        return any(map(_has_code, architecture.values()))
    return isinstance(architecture, (list, tuple)) and any(map(_has_code, architecture))
