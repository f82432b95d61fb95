"""The named inputs and outputs of an experiment's model, and the data in that form."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias, TypeVar

import numpy as np

import trainlib.models as models
from trainlib.core.checks import check_choice
from trainlib.core.hyperparameters import declared
from trainlib.core.types import Tree
from trainlib.data import TablePreprocessing
from trainlib.experiment.config import ExperimentConfig
from trainlib.experiment.functions import FunctionConfig
from trainlib.models.signature import ModelSignature

T = TypeVar("T")

PLAIN_SIGNATURE = ModelSignature({}, ())
"""One input, which takes the examples as they are, and one output."""
_SIGNATURES: Mapping[str, tuple[Callable[..., ModelSignature], tuple[str, ...]]] = {
    "wide_deep": (models.wide_deep_signature, ("wide_columns", "deep_columns", "auxiliary_output")),
}
"""For models with several inputs or outputs: a function of the shape of an example and some of the
model's hyperparameters that returns the signature, and the names of these hyperparameters."""


Shapes: TypeAlias = tuple[int, ...] | dict[str, tuple[int, ...]]
"""Shape of one example; a dict of shapes by name for several inputs."""


def shapes_of(signature: ModelSignature, x: Any) -> Shapes:
    """Return the shape of one example; a dict of shapes by name for several inputs.

    Args:
        signature: the inputs of the model.
        x: examples, an array or a dict of arrays by name.
    """
    if isinstance(x, Mapping):
        return {name: tuple(array.shape[1:]) for name, array in x.items()}
    if signature.inputs:
        return {name: (len(columns),) for name, columns in signature.inputs.items()}
    return tuple(x.shape[1:])


def columns_by_name(
    names: Sequence[str], rules: TablePreprocessing | None
) -> dict[str, tuple[int, ...]]:
    """Return the positions in x of the columns of a table, by name.

    A column of categories or dates becomes several columns of x. The result has the name of the
    column of the table, with all its positions, and the name of each column of x.

    Args:
        names: names of the columns of x; () if they have none.
        rules: rules that turned the columns of the table into x; None if there are none.
    """
    found: dict[str, tuple[int, ...]] = {name: (k,) for k, name in enumerate(names)}
    place = 0
    for column in () if rules is None else rules.columns:
        found[column.name] = tuple(range(place, place + len(column.inputs)))
        place += len(column.inputs)
    return found


def model_signature(
    config: ExperimentConfig, shape: Shapes, columns: Mapping[str, tuple[int, ...]] | None = None
) -> ModelSignature:
    """Return the named inputs and outputs of the model of a configuration.

    A custom model has the plain signature until it is built, which shows its outputs.

    Args:
        config: the experiment.
        shape: shape of one example.
        columns: positions of the columns of a table by name. Default: None, they have no names.

    Raises:
        ValueError: a column does not exist, or `input_columns` is given for examples that are not
            rows of a table, or for a model of `tl.models.MODELS`.
    """
    name, text = config.model.name, config.data.input_columns
    if text is not None:
        if name in models.MODELS:
            other = "wide_columns and deep_columns" if name in _SIGNATURES else "one input"
            raise ValueError(f"input_columns is for your own models; {name} has {other}")
        if isinstance(shape, dict) or len(shape) != 1:
            raise ValueError(f"input_columns is for tables; the examples have shape {shape}")
        return ModelSignature(_input_columns(text, shape[0], columns or {}), ())
    if name not in _SIGNATURES:
        return PLAIN_SIGNATURE
    function, names = _SIGNATURES[name]
    given = resolve_columns(config.model, shape, columns or {})
    return function(shape, **{name: given[name] for name in names if name in given})


def resolve_columns(
    model: FunctionConfig, shape: Shapes, columns: Mapping[str, tuple[int, ...]]
) -> dict[str, Any]:
    """Return the hyperparameters of a model, with positions for the names of columns.

    Args:
        model: the model; hyperparameters declared as "columns" may hold names.
        shape: shape of one example. Unless it is a row of a table, nothing is resolved.
        columns: positions of the columns of the table by name.

    Raises:
        ValueError: a column does not exist.
    """
    found = dict(model.hyperparameters)
    if isinstance(shape, dict) or len(shape) != 1:
        return found
    for name, value in model.hyperparameters.items():
        declaration = declared("model", model.name, name)
        if declaration is not None and declaration.type == "columns" and value is not None:
            positions = models.parse_columns(name, value, shape[0], columns)
            found[name] = ",".join(map(str, positions))
    return found


def _input_columns(
    text: str, size: int, columns: Mapping[str, tuple[int, ...]]
) -> dict[str, tuple[int, ...]]:
    """Return the columns of each input, given as text such as `wide=0-4; deep=age,kind`.

    Raises:
        ValueError: the text has another form, or a column does not exist.
    """
    found: dict[str, tuple[int, ...]] = {}
    for part in filter(None, (part.strip() for part in text.split(";"))):
        name, equals, chosen = (piece.strip() for piece in part.partition("="))
        if not equals or not name or name in found:
            raise ValueError(
                "input_columns must list the columns of each input, as in wide=0-4;deep=2-7, got "
                f"{text!r}"
            )
        found[name] = models.parse_columns(f"input_columns of {name}", chosen, size, columns)
    return found


def inputs_of(signature: ModelSignature, x: Any) -> Tree:
    """Return examples in the form of a model's inputs: x itself, or a dict of columns by input."""
    if isinstance(x, Mapping):
        return dict(x)
    if not signature.inputs:
        return x
    return {name: np.asarray(x[:, list(columns)]) for name, columns in signature.inputs.items()}


def targets_of(signature: ModelSignature, y: Any) -> Tree:
    """Return targets by output; all outputs share one array y. For one output, y itself."""
    if isinstance(y, Mapping):
        return dict(y)
    return {name: y for name in signature.outputs} if signature.outputs else y


def by_output(signature: ModelSignature, value: T) -> T | dict[str, T]:
    """Return a dict with the same value for each output; for one output, the value itself."""
    return {name: value for name in signature.outputs} if signature.outputs else value


def main_output(signature: ModelSignature, predictions: Any) -> Any:
    """Return the predictions of the main output, which is the first one."""
    return predictions[signature.outputs[0]] if signature.outputs else predictions


def loss_weights_of(config: ExperimentConfig, signature: ModelSignature) -> dict[str, float] | None:
    """Return the weights of the losses by output; None if none are given.

    Raises:
        ValueError: a weight is not a number, an output has two, or the model has one output.
    """
    weights: dict[str, float] = {}
    for name, text in texts_by_output("loss_weights", config, signature).items():
        try:
            weights[name] = float(text)
        except ValueError:
            raise ValueError(
                f"loss_weights must be numbers, as in main=0.9,aux=0.1, got {text!r} for {name!r}"
            ) from None
    return weights or None


def texts_by_output(
    setting: str, config: ExperimentConfig, signature: ModelSignature
) -> dict[str, str]:
    """Return the values of a setting such as `main=0.9,aux=0.1`, as text by output.

    Args:
        setting: name of the setting, "loss_weights" or "output_losses".
        config: the experiment.
        signature: the outputs of the model.

    Raises:
        ValueError: a part of the setting has another form, or its output does not exist or is
            given twice; or the model has one output.
    """
    given: tuple[str, ...] = getattr(config, setting)
    if given and not signature.outputs:
        raise ValueError(
            f"{setting} is for a model of several outputs, and {config.model.name} has one: leave "
            "it out, or use model=wide_deep with auxiliary_output"
        )
    texts: dict[str, str] = {}
    for part in given:
        name, equals, text = part.partition("=")
        if not equals:
            raise ValueError(f"{setting} must be output=value, comma-separated, got {part!r}")
        check_choice(f"output of {setting}", name, signature.outputs)
        if name in texts:
            raise ValueError(f"{setting} must give output {name!r} one value")
        texts[name] = text
    return texts
