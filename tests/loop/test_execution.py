"""Which execution "auto" chooses."""

from __future__ import annotations

import keras
import pytest

from trainlib.loop.execution import choose_execution

DENSE = ["Rescaling", "Flatten", "Dense"]
LAYERS = {
    "Rescaling": lambda: keras.layers.Rescaling(0.5),
    "Flatten": keras.layers.Flatten,
    "Dense": lambda: keras.layers.Dense(2),
    "BatchNormalization": keras.layers.BatchNormalization,
    "Activation": lambda: keras.layers.Activation("relu"),
    "Dropout": lambda: keras.layers.Dropout(0.5),
    "Conv2D": lambda: keras.layers.Conv2D(2, 3),
}


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        (DENSE, "xla"),
        ([*DENSE, "BatchNormalization", "Activation"], "xla"),
        ([*DENSE, "Dropout"], "graph"),
        (["Conv2D", *DENSE], "graph"),
    ],
)
def test_auto_takes_xla_for_dense_layers_alone(layers, expected):
    model = keras.Sequential([keras.Input((4, 4, 1)), *(LAYERS[name]() for name in layers)])
    assert choose_execution("auto", model) == expected


@pytest.mark.parametrize("make", [lambda: None, keras.Sequential, keras.Model])
def test_auto_takes_graph_for_what_it_does_not_know(make):
    assert choose_execution("auto", make()) == "graph"


@pytest.mark.parametrize("execution", ["graph", "xla"])
def test_what_is_asked_for_is_taken(execution):
    assert choose_execution(execution, None) == execution


def test_an_unknown_execution_is_refused():
    with pytest.raises(ValueError, match="unknown execution 'xl': did you mean 'xla'"):
        choose_execution("xl", None)
