"""Keras models by name, from a file, and from your function.

names: the registry `MODELS`.
dense: `perceptron` and `mlp`.
convolutional: `cnn` and `separable_cnn`.
residual: `resnet`.
wide_deep: `wide_deep`, with two inputs and two outputs if asked for.
autoencoders: `autoencoder`, dense or convolutional.
sequences: `rnn` and `transformer`.
encoders: the hidden layers of a model as an encoder, with a decoder.
layers: the layers that named models share.
dropout: the dropout family.
custom_layers: layers that Keras does not have; imported where they are used.
columns: the columns of a table that a hyperparameter names.
signature: `ModelSignature`, the named inputs and outputs of a model.
checks: what every named model checks before it is built.
hints: warnings about hyperparameters that do not go well together.
loading: models from a `.keras` file or from a function given as `module:function`.
structure: the layers of a model: its logits, its preprocessing.
transfer: `transfer`, a copy of a trained model with a new head and frozen layers.
temperature: `with_temperature`, a model whose probabilities are calibrated.
"""

from trainlib.models.autoencoders import RECONSTRUCTING, autoencoder, reconstruction_targets
from trainlib.models.columns import parse_columns
from trainlib.models.convolutional import cnn, separable_cnn
from trainlib.models.dense import mlp, perceptron
from trainlib.models.hints import ModelHint
from trainlib.models.loading import from_function, is_custom, load_model
from trainlib.models.names import MODELS
from trainlib.models.residual import resnet
from trainlib.models.sequences import rnn, transformer
from trainlib.models.structure import (
    LOGITS_ACTIVATIONS,
    has_preprocessing,
    logits_model,
)
from trainlib.models.temperature import with_temperature
from trainlib.models.transfer import transfer
from trainlib.models.wide_deep import wide_deep, wide_deep_signature

__all__ = [
    "LOGITS_ACTIVATIONS",
    "MODELS",
    "RECONSTRUCTING",
    "ModelHint",
    "autoencoder",
    "cnn",
    "from_function",
    "has_preprocessing",
    "is_custom",
    "load_model",
    "logits_model",
    "mlp",
    "parse_columns",
    "perceptron",
    "reconstruction_targets",
    "resnet",
    "rnn",
    "separable_cnn",
    "transfer",
    "transformer",
    "wide_deep",
    "wide_deep_signature",
    "with_temperature",
]
