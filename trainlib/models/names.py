"""`MODELS`, the models by name, which flags, help texts and documentation read.

To add a model, write a function of `(input_shape, outputs, output_activation, preprocessing)` and
keyword hyperparameters in the module of its family, and enter it here and in `INPUTS` of
`trainlib.models.checks`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from trainlib.models.autoencoders import autoencoder
from trainlib.models.convolutional import cnn, separable_cnn
from trainlib.models.dense import mlp, perceptron
from trainlib.models.residual import resnet
from trainlib.models.sequences import rnn, transformer
from trainlib.models.wide_deep import wide_deep

MODELS: Mapping[str, Callable[..., Any]] = {
    "perceptron": perceptron,
    "mlp": mlp,
    "cnn": cnn,
    "separable_cnn": separable_cnn,
    "resnet": resnet,
    "wide_deep": wide_deep,
    "autoencoder": autoencoder,
    "rnn": rnn,
    "transformer": transformer,
}
"""The models by name."""
