"""Wide and deep networks: `wide_deep`, with one input or two, and one output or two."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras

from trainlib.models.checks import named_model
from trainlib.models.columns import parse_columns
from trainlib.models.dense import HiddenLayers
from trainlib.models.dropout import chosen_dropout
from trainlib.models.layers import chain, first_layers, flatten, kernel_initializer, last_layers
from trainlib.models.signature import ModelSignature

WIDE, DEEP = "wide", "deep"
"""Names of the two inputs."""
MAIN, AUXILIARY = "main", "aux"
"""Names of the two outputs."""


@named_model
def wide_deep(
    input_shape: tuple[int, ...] | Mapping[str, tuple[int, ...]],
    outputs: int,
    output_activation: str | None = None,
    preprocessing: Sequence[Any] | Mapping[str, Sequence[Any]] = (),
    *,
    hidden: Sequence[int] = (30, 30),
    activation: str = "relu",
    initializer: str = "auto",
    dropout: float = 0.0,
    dropout_kind: str = "auto",
    wide_columns: str | None = None,
    deep_columns: str | None = None,
    auxiliary_output: bool = False,
) -> Any:
    """Return a wide and deep network: the output layer takes the inputs and the last hidden layer.

    y = W [x, h(x)] + b, where h is a multilayer perceptron. If columns are given, the model has two
    inputs, a dict of "wide" and "deep": y = W [x_wide, h(x_deep)] + b.

    Args:
        input_shape: shape of one example; flattened if it has more than one axis. For two inputs,
            the shape of a row of the table with their columns, or a dict of their shapes, such as
            {"wide": (5,), "deep": (6,)}.
        outputs: number of units of an output layer, at least 1.
        output_activation: "softmax", "sigmoid" or None (default) for raw outputs. It becomes a
            separate last layer.
        preprocessing: first layers, such as `keras.layers.Rescaling`; for two inputs, a dict of
            them by input. Default: none.
        hidden: widths of the hidden layers, at least one. Default: (30, 30).
        activation: activation of the hidden layers, as in `mlp`. Default: "relu".
        initializer: initializer of their kernels, as in `mlp`. Default: "auto".
        dropout: fraction of each hidden layer's units to drop, in [0, 1). Default: 0.
        dropout_kind: "dropout" (which "auto", the default, is), "gaussian" or "gaussian_noise", as
            in `mlp`.
        wide_columns: columns of the input "wide", counted from 0, as in "0-4" or "0,2,5-7".
            Default: None, all, with one input if `deep_columns` is None too.
        deep_columns: columns of the input "deep". Default: None, all.
        auxiliary_output: whether a second output follows the last hidden layer, without the wide
            part. The outputs are then a dict of "main" and "aux". Default: False.

    Returns:
        A built `keras.Model` named "wide_deep".

    Raises:
        ValueError: a number is out of its range, there is no such column, or Keras has no such
            activation or initializer.

    Example:
        >>> model = tl.models.wide_deep(
        ...     (8,), 1, wide_columns="0-4", deep_columns="2-7", auxiliary_output=True
        ... )
        >>> {name: x.shape for name, x in model.input.items()}
        {'wide': (None, 5), 'deep': (None, 6)}
        >>> {name: x.shape for name, x in model.output.items()}
        {'main': (None, 1), 'aux': (None, 1)}

    References:
        Cheng et al. 2016, "Wide & Deep Learning for Recommender Systems".
    """
    if not hidden:
        raise ValueError("hidden must hold at least one width: a linear model is perceptron")
    signature = wide_deep_signature(input_shape, wide_columns, deep_columns, auxiliary_output)
    dropped = chosen_dropout(dropout, dropout_kind, activation)
    kinds = HiddenLayers(kernel_initializer(initializer, activation), activation, dropped)
    widths = _widths(input_shape, signature.inputs)
    inputs, wide, deep = _inputs(input_shape, preprocessing, widths)
    for i, units in enumerate(hidden, start=1):
        deep = chain(deep, kinds.layers(i, units))
    both = keras.layers.Concatenate(name="wide_and_deep")([wide, deep])
    if not signature.outputs:
        y = chain(both, last_layers(outputs, output_activation))
        return keras.Model(inputs, y, name="wide_deep")
    y = {
        name: chain(x, _named_output(name, outputs, output_activation))
        for name, x in zip(signature.outputs, (both, deep), strict=True)
    }
    return keras.Model(inputs, y, name="wide_deep")


def wide_deep_signature(
    input_shape: tuple[int, ...] | Mapping[str, tuple[int, ...]],
    wide_columns: str | None = None,
    deep_columns: str | None = None,
    auxiliary_output: bool = False,
) -> ModelSignature:
    """Return the named inputs and outputs of a `wide_deep` with these hyperparameters.

    Args:
        input_shape: shape of one example of the data.
        wide_columns: as in `wide_deep`.
        deep_columns: as in `wide_deep`.
        auxiliary_output: as in `wide_deep`.

    Returns:
        A `ModelSignature`.

    Raises:
        ValueError: there is no such column, or the examples are not rows of a table.

    Example:
        >>> signature = tl.models.wide_deep_signature((8,), "0-4", "2-7", auxiliary_output=True)
        >>> signature.inputs["deep"], signature.outputs
        ((2, 3, 4, 5, 6, 7), ('main', 'aux'))
    """
    outputs = (MAIN, AUXILIARY) if auxiliary_output else ()
    if wide_columns is None and deep_columns is None:
        return ModelSignature({}, outputs)
    if isinstance(input_shape, Mapping) or len(input_shape) != 1:
        raise ValueError(
            f"wide_columns and deep_columns are for tables; the examples have shape {input_shape}"
        )
    given = {WIDE: wide_columns, DEEP: deep_columns}
    size = input_shape[0]
    columns = {
        name: tuple(range(size)) if text is None else parse_columns(f"{name}_columns", text, size)
        for name, text in given.items()
    }
    return ModelSignature(columns, outputs)


def _widths(
    input_shape: tuple[int, ...] | Mapping[str, tuple[int, ...]],
    columns: Mapping[str, tuple[int, ...]],
) -> dict[str, int]:
    """Return the number of columns of each input; {} for one input."""
    if not isinstance(input_shape, Mapping):
        return {name: len(chosen) for name, chosen in columns.items()}
    if set(input_shape) != {WIDE, DEEP} or any(len(x) != 1 for x in input_shape.values()):
        raise ValueError(
            f"wide_deep takes the inputs {WIDE} and {DEEP}, columns each; the examples have "
            f"{dict(input_shape)}"
        )
    return {name: input_shape[name][0] for name in (WIDE, DEEP)}


def _inputs(
    input_shape: tuple[int, ...] | Mapping[str, tuple[int, ...]],
    preprocessing: Sequence[Any] | Mapping[str, Sequence[Any]],
    widths: Mapping[str, int],
) -> tuple[Any, Any, Any]:
    """Return the input or the dict of inputs, and the tensors of the wide and the deep part."""
    if not isinstance(input_shape, Mapping) and not widths:
        if isinstance(preprocessing, Mapping):
            raise ValueError("preprocessing by input is for a model with columns of two inputs")
        first, *layers = first_layers(input_shape, preprocessing)
        x = chain(first, [*layers, *flatten(input_shape)])
        return first, x, x
    if not isinstance(preprocessing, Mapping) and preprocessing:
        raise ValueError("preprocessing of two inputs must be a dict of layers: wide, deep")
    inputs, seen = {}, []
    for name, width in widths.items():
        before = preprocessing.get(name, ()) if isinstance(preprocessing, Mapping) else ()
        first, *layers = first_layers((width,), before, name)
        inputs[name] = first
        seen.append(chain(first, layers))
    return inputs, *seen


def _named_output(name: str, outputs: int, output_activation: str | None) -> list[Any]:
    """Return an output layer and its activation; the last of them has the name of the output."""
    if output_activation is None:
        return [keras.layers.Dense(outputs, name=name)]
    return [
        keras.layers.Dense(outputs, name=f"{name}_outputs"),
        keras.layers.Activation(output_activation, name=name),
    ]
