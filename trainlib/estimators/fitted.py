"""The trained model of an estimator: it predicts, and is pickled as weights and configuration."""

from __future__ import annotations

import copy
import functools
import threading
from collections import OrderedDict
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from trainlib.experiment.config import ExperimentConfig
from trainlib.experiment.model_signature import inputs_of, main_output
from trainlib.experiment.trial import TrialResult
from trainlib.experiment.user_functions import custom_objects
from trainlib.models.signature import ModelSignature
from trainlib.training.adapted_layers import set_weights
from trainlib.training.functional_model import FunctionalModel, as_functional_model
from trainlib.training.layer_numbers import architecture

ROWS = 4096
"""Examples that are predicted at once."""
SIZE = 16
"""Number of compiled functions that are kept."""
_PROGRAMS: OrderedDict[str, Any] = OrderedDict()
"""The last compiled functions by what they contain: models of one architecture share one."""
_LOCK = threading.Lock()


class FittedModel:
    """A trained model, which can be pickled: its Keras model is built again when it predicts.

    Attributes:
        config: the configuration of its training, with "auto" resolved.
        requested: the configuration as it was given.
        architecture: the Keras model without its weights, as JSON can hold it.
        weights: the weights, in the order of the Keras model.
        signature: the inputs and outputs of the model.
        state: the training state, for fits that continue this one; None if it is not kept.
        epochs: epochs that it was trained, over all fits.
    """

    def __init__(
        self,
        result: TrialResult,
        requested: ExperimentConfig,
        signature: ModelSignature,
        state: list[np.ndarray] | None,
        epochs: int,
    ) -> None:
        self.config: ExperimentConfig = result.config
        self.requested = requested
        self.architecture = result.architecture
        self.weights = result.weights
        self.signature = signature
        self.state = state
        self.epochs = epochs
        self._model: Any = None
        self._function: Any = None
        self.is_trusted = True  # it was made in this process, not read from a pickle

    def keep_model(self, model: Any) -> None:
        """Keep the trained Keras model, which then need not be built to predict."""
        self._model = model

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
        set_weights(model, self.weights)
        return model

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Return the predictions for inputs, of several outputs those of the main one.

        Args:
            x: the inputs, of the dtype that the model takes.
        """
        inputs = inputs_of(self.signature, x)
        if self._function is None:
            self._function = self._compiled(inputs)
        parts = [self._predict(inputs, slice(i, i + ROWS)) for i in range(0, len(x), ROWS)]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _predict(self, inputs: Any, rows: slice) -> np.ndarray:
        """Return the predictions for some rows of the inputs.

        A single row is repeated, since TensorFlow sums the product of a matrix and a vector in
        another order, and a prediction must not depend on the number of examples.
        """
        part = tf.nest.map_structure(lambda a: a[rows], inputs)
        size = len(tf.nest.flatten(part)[0])
        if size == 1:
            part = tf.nest.map_structure(lambda a: np.repeat(a, 2, axis=0), part)
        outputs = self._function(tf.nest.map_structure(tf.constant, part))
        predictions: np.ndarray = main_output(self.signature, outputs).numpy()[:size]
        return predictions

    def _compiled(self, inputs: Any) -> Any:
        """Return the model as a compiled function of its inputs, for any number of examples."""
        keras_model = self.build_model() if self._model is None else self._model
        precision = self.config.precision
        model = as_functional_model(keras_model, precision=precision, open_numbers=True)
        specs = tf.nest.map_structure(
            lambda a: tf.TensorSpec([None, *a.shape[1:]], a.dtype), inputs
        )
        text = architecture(keras_model)
        key = None if text is None else repr((text, precision, specs))
        return functools.partial(_program(key, model, specs), model.params, model.model_state)

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
        return self.__dict__ | {"is_trusted": False, "_model": None, "_function": None}


def _program(key: str | None, model: FunctionalModel, specs: Any) -> Any:
    """Return the compiled function of a model's parameters, its other state and its inputs.

    Args:
        key: all that the function contains; None where it cannot be shared.
        model: the model.
        specs: form of its inputs.
    """
    with _LOCK:
        found = None if key is None else _PROGRAMS.pop(key, None)
        if found is None:
            found = _traced(model, specs)
        if key is not None:
            _PROGRAMS[key] = found
            while len(_PROGRAMS) > SIZE:
                _PROGRAMS.popitem(last=False)
        return found


def _traced(model: FunctionalModel, specs: Any) -> Any:
    """Return a model as a compiled function of its parameters, its other state and its inputs."""

    def predict(params: Any, model_state: Any, x: Any) -> Any:
        return model.apply_fn(params, model_state, x, training=False).y_pred

    values = tf.nest.map_structure(
        lambda a: tf.TensorSpec(a.shape, a.dtype), (model.params, model.model_state)
    )
    return tf.function(predict, [*values, specs], autograph=False).get_concrete_function()


def _has_code(architecture: Any) -> bool:
    """Return whether the configuration of a Keras model holds a Python function by its code."""
    if isinstance(architecture, dict):
        if architecture.get("class_name") == "__lambda__":
            return True
        return any(map(_has_code, architecture.values()))
    return isinstance(architecture, (list, tuple)) and any(map(_has_code, architecture))
