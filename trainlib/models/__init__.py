"""Keras models by name, from a file, and from your function.

builders: `mlp` and `cnn`, and the registry `MODELS`.
loading: models from a `.keras` file or from a function given as `module:function`.
structure: the layers of a model: its logits, its preprocessing.
"""

from trainlib.models.builders import MODELS, cnn, mlp
from trainlib.models.loading import from_function, is_custom, load_model
from trainlib.models.structure import (
    LOGITS_ACTIVATIONS,
    has_preprocessing,
    logits_model,
)

__all__ = [
    "LOGITS_ACTIVATIONS",
    "MODELS",
    "cnn",
    "from_function",
    "has_preprocessing",
    "is_custom",
    "load_model",
    "logits_model",
    "mlp",
]
