"""Declarations of the models' hyperparameters."""

from __future__ import annotations

from trainlib.core.hyperparameters.declaration import (
    DECAY,
    POSITIVE,
    Declaration,
    Range,
    Table,
    choice,
    integer,
    number,
    switch,
)

_COUNT = Range(at_least=1)
_NUMBER = Range(at_least=0)
_LAYERS = Range(at_least=1, at_most=1000)

ANYWHERE = ("auto", "dropout", "gaussian", "gaussian_noise")
"""Kinds of dropout that all models take; "auto" is "dropout", except for self-normalizing ones."""


def _dropout_kind(*kinds: str) -> Declaration:
    return choice("kind of dropout", *ANYWHERE, *kinds)


MODELS: Table = {
    # Dense networks.
    "hidden": Declaration("ints", "widths of the hidden layers, none for a linear model", _COUNT),
    "depth": integer(
        "number of hidden layers, instead of hidden; 0 for none",
        Range(at_least=0, at_most=1000),
        optional=True,
    ),
    "width": integer(
        "units of each hidden layer, or of the first, with depth", _COUNT, optional=True
    ),
    "last_width": integer(
        "units of the last hidden layer, with depth: the widths between are linear",
        _COUNT,
        optional=True,
    ),
    "self_normalizing": switch("use SELU, LeCun initialization and alpha dropout"),
    "residual": integer("hidden layers in a residual block, 0 for no shortcuts", _NUMBER),
    "activation": Declaration(
        "str",
        "activation of the hidden layers: a name of Keras, prelu or maxout, as in elu:alpha=0.5",
    ),
    "initializer": Declaration(
        "str",
        "initializer of the kernels: auto, or a name of Keras, as in variance_scaling:scale=2",
    ),
    "dropout": number("fraction of the hidden units that is dropped", DECAY),
    "dropout_kind": _dropout_kind(),
    "mlp.dropout_kind": _dropout_kind("alpha", "stochastic_depth", "drop_connect"),
    "batch_norm": switch("normalize each hidden layer before its activation"),
    "batch_norm_position": choice("where batch_norm normalizes a layer", "before", "after"),
    "fourier_features": integer(
        "frequencies of sines and cosines of fourier_columns, which become inputs too, 0 for none",
        _NUMBER,
    ),
    "fourier_columns": Declaration(
        "columns",
        "columns of the Fourier features, from 0 or by name, as in 6-7 or Latitude,Longitude; by "
        "default all",
        optional=True,
    ),
    "fourier_scale": number(
        "standard deviation of the initial frequencies, in cycles per unit of the scaled inputs",
        POSITIVE,
    ),
    # Convolutional networks.
    "filters": integer("filters of the first convolution", _COUNT),
    "units": integer("units of the dense layer", _COUNT),
    "cnn.depth": integer(
        "number of blocks, each with twice the filters of the last", Range(at_least=1, at_most=30)
    ),
    "convolutions": integer("convolutions in a block, before its pooling", _LAYERS),
    "kernel_size": integer(
        "height and width of the kernels", Range(at_least=1, at_most=1000), "pixels"
    ),
    "padding": choice("padding of the convolutions", "valid", "same"),
    "cnn.dropout_kind": _dropout_kind("spatial"),
    "separable_cnn.dropout_kind": _dropout_kind("spatial"),
    # Residual networks.
    "resnet.depth": integer(
        "number of layers with weights, 6n + 2", Range(at_least=8, at_most=1202)
    ),
    "resnet.padding": choice(
        "padding where a stage halves its input, as Keras (same) or PyTorch (symmetric) does",
        "same",
        "symmetric",
    ),
    "resnet.dropout_kind": _dropout_kind("spatial", "stochastic_depth"),
    "shortcut": choice("shortcuts where a stage begins", "identity", "projection"),
    # Autoencoders.
    "autoencoder.hidden": Declaration(
        "ints", "widths of the encoder; the last is the length of the code", _COUNT
    ),
    "autoencoder.depth": integer(
        "number of blocks, if convolutional", Range(at_least=1, at_most=30)
    ),
    "autoencoder.dropout": number("fraction of the inputs that is dropped", DECAY),
    "convolutional": switch("use convolutions instead of dense layers"),
    # Networks for sequences.
    "cell": choice("recurrent layer", "lstm", "gru", "simple"),
    "rnn.units": integer("units of each recurrent layer", _COUNT),
    "rnn.depth": integer("number of recurrent layers", _LAYERS),
    "rnn.dropout_kind": _dropout_kind("spatial"),
    "bidirectional": switch("read sequences in both directions"),
    "vocabulary": integer("number of different integers; 0 if the inputs are numbers", _NUMBER),
    "embedding": integer("length of the embedding vectors", _COUNT),
    "transformer.depth": integer("number of blocks", _LAYERS),
    "transformer.width": integer("length of the vector of a step", _COUNT),
    "transformer.dropout_kind": _dropout_kind("stochastic_depth"),
    "heads": integer("number of attention heads", _LAYERS),
    "feedforward": integer("units of the hidden layer of a block", _COUNT),
    "positions": choice("position embedding", "learned", "sinusoidal", "none"),
    # Wide and deep.
    "wide_columns": Declaration(
        "columns",
        "columns of the wide input, from 0 or by name, as in 0-4 or 0,2,5-7",
        optional=True,
    ),
    "deep_columns": Declaration(
        "columns", "columns of the deep input, written likewise", optional=True
    ),
    "auxiliary_output": switch("add a second output, from the last hidden layer alone"),
}
