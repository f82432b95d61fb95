"""Declarations of the models' hyperparameters."""

from __future__ import annotations

from trainlib.core.hyperparameters.declaration import (
    DECAY,
    Declaration,
    Range,
    Table,
    integer,
    number,
    switch,
)

_COUNT = Range(at_least=1)

MODELS: Table = {
    "hidden": Declaration("ints", "widths of the hidden layers, none for a linear model", _COUNT),
    "filters": integer("filters of the convolution", _COUNT),
    "units": integer("units of the dense layer", _COUNT),
    "activation": Declaration("str", "activation of the hidden layers, by its name in Keras"),
    "initializer": Declaration("str", "initializer of the kernels, auto to follow the activation"),
    "dropout": number("fraction of the hidden units that is dropped", DECAY),
    "batch_norm": switch("normalize each hidden layer before its activation"),
}
