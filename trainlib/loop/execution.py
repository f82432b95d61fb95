"""How the steps are executed: as a TensorFlow graph, or compiled whole by XLA."""

from __future__ import annotations

from typing import Any

from trainlib.checks import check_choice

EXECUTIONS = ("auto", "graph", "xla")

_DENSE_LAYERS = frozenset(
    [
        "Activation",
        "BatchNormalization",
        "Dense",
        "Flatten",
        "InputLayer",
        "LayerNormalization",
        "Normalization",
        "ReLU",
        "Rescaling",
        "Reshape",
        "Softmax",
    ]
)


def choose_execution(execution: str, model: Any) -> str:
    """ "graph" or "xla"; "auto" takes XLA for Keras models made of dense layers alone.

    On a CPU, XLA makes steps of dense nets two to ten times faster, convolutions and dropout
    several times slower, and it does not know every operation that a model may use.
    """
    check_choice("execution", execution, EXECUTIONS)
    if execution != "auto":
        return execution
    layers = getattr(model, "layers", None) or [None]
    return "xla" if all(type(layer).__name__ in _DENSE_LAYERS for layer in layers) else "graph"
