"""Keras models of many kinds, each with small data and a loss; they train within a second.

table: the table of models, and the data that they share.
recurrent: recurrent layers, stateful ones, and masks.
convolutional: convolutions, pooling, images as outputs.
attention: attention and transformer blocks.
normalization: a model for each layer that normalizes.
structure: several inputs and outputs; subclassed, nested, shared and frozen models.
custom: lambdas, custom layers, penalties, constraints, and other dtypes.
"""

from helpers.keras_models import (
    attention,
    convolutional,
    custom,
    normalization,
    recurrent,
    structure,
)
from helpers.keras_models.table import MODELS

__all__ = ["MODELS", "attention", "convolutional", "custom", "normalization", "recurrent"]
__all__ += ["structure"]
