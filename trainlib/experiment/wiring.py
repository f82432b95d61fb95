"""The inputs and outputs of an experiment's model: arrays by name, or columns of a table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias, TypeVar

import numpy as np

import trainlib.models as models
from trainlib.core.checks import check_choice
from trainlib.core.types import Tree
from trainlib.data import TablePreprocessing
from trainlib.experiment.config import ExperimentConfig
from trainlib.models.wide_deep import Wiring

T = TypeVar("T")

ONE = Wiring({}, ())
"""One input, the examples as they are, and one output."""
_OF_MODELS: Mapping[str, tuple[Callable[..., Wiring], tuple[str, ...]]] = {
    "wide_deep": (models.wiring, ("wide_columns", "deep_columns", "auxiliary_output")),
}
"""Models of several inputs or outputs: the function that tells these, and its hyperparameters."""


Shapes: TypeAlias = tuple[int, ...] | dict[str, tuple[int, ...]]
"""Shape of an example; of several inputs, by their names."""


def shapes_of(wiring: Wiring, x: Any) -> Shapes:
    """Return the shape of an example; of several inputs, by their names."""
    if isinstance(x, Mapping):
        return {name: tuple(array.shape[1:]) for name, array in x.items()}
    if wiring.inputs:
        return {name: (len(columns),) for name, columns in wiring.inputs.items()}
    return tuple(x.shape[1:])


def columns_by_name(
    names: Sequence[str], rules: TablePreprocessing | None
) -> dict[str, tuple[int, ...]]:
    """Return the positions in x of the columns of a table, by their names.

    A column of categories or dates is several columns of x, each of which has a name too.

    Args:
        names: names of the columns of x; () if they have none.
        rules: the rules that made them of the columns of a table, if there are any.
    """
    found: dict[str, tuple[int, ...]] = {name: (k,) for k, name in enumerate(names)}
    place = 0
    for column in () if rules is None else rules.columns:
        found[column.name] = tuple(range(place, place + len(column.inputs)))
        place += len(column.inputs)
    return found


def wiring_of(
    config: ExperimentConfig, shape: Shapes, columns: Mapping[str, tuple[int, ...]] | None = None
) -> Wiring:
    """Return the inputs and the outputs of the model of a configuration.

    The outputs of a custom model are known once it is built.

    Args:
        config: the experiment.
        shape: shape of one example.
        columns: positions of the columns of a table by their names. Default: None, without names.

    Raises:
        ValueError: the examples lack a column, or are no table.
    """
    name, text = config.model.name, config.data.input_columns
    if text is not None:
        if name in models.MODELS:
            other = "wide_columns and deep_columns" if name in _OF_MODELS else "one input"
            raise ValueError(f"input_columns is for your own models; {name} has {other}")
        if isinstance(shape, dict) or len(shape) != 1:
            raise ValueError(f"input_columns is for tables; the examples have shape {shape}")
        return Wiring(_input_columns(text, shape[0], columns or {}), ())
    if name not in _OF_MODELS:
        return ONE
    function, names = _OF_MODELS[name]
    given = with_positions(config.model.hyperparameters, shape, columns or {})
    return function(shape, **{name: given[name] for name in names if name in given})


def with_positions(
    hyperparameters: Mapping[str, Any], shape: Shapes, columns: Mapping[str, tuple[int, ...]]
) -> dict[str, Any]:
    """Return a model's hyperparameters, with the columns that they name as positions.

    Args:
        hyperparameters: of the model; those of columns end in "_columns".
        shape: shape of one example.
        columns: positions of the columns of a table by their names.

    Raises:
        ValueError: there is no such column.
    """
    found = dict(hyperparameters)
    if not isinstance(shape, dict) and len(shape) == 1:
        for name in (x for x in found if x.endswith("_columns") and found[x] is not None):
            positions = models.parse_columns(name, found[name], shape[0], columns)
            found[name] = ",".join(map(str, positions))
    return found


def _input_columns(
    text: str, size: int, columns: Mapping[str, tuple[int, ...]]
) -> dict[str, tuple[int, ...]]:
    """Return the columns of each input that a text such as `wide=0-4; deep=age,kind` holds.

    Raises:
        ValueError: it has another form, or there is no such column.
    """
    found: dict[str, tuple[int, ...]] = {}
    for part in filter(None, (part.strip() for part in text.split(";"))):
        name, equals, chosen = (piece.strip() for piece in part.partition("="))
        if not equals or not name or name in found:
            raise ValueError(
                "input_columns must be the columns of each input, as in wide=0-4;deep=2-7, got "
                f"{text!r}"
            )
        found[name] = models.parse_columns(f"input_columns of {name}", chosen, size, columns)
    return found


def inputs_of(wiring: Wiring, x: Any) -> Tree:
    """Return examples as the inputs of a model: x itself, or the columns of each input."""
    if isinstance(x, Mapping):
        return dict(x)
    if not wiring.inputs:
        return x
    return {name: np.asarray(x[:, list(columns)]) for name, columns in wiring.inputs.items()}


def targets_of(wiring: Wiring, y: Any) -> Tree:
    """Return targets by output: those of each, or one array for all; y itself for one output."""
    if isinstance(y, Mapping):
        return dict(y)
    return {name: y for name in wiring.outputs} if wiring.outputs else y


def by_output(wiring: Wiring, value: T) -> T | dict[str, T]:
    """Return a value for each output of a model: targets, a loss or metrics; itself for one."""
    return {name: value for name in wiring.outputs} if wiring.outputs else value


def main_output(wiring: Wiring, predictions: Any) -> Any:
    """Return the predictions of the first of the outputs, the others of which are auxiliary."""
    return predictions[wiring.outputs[0]] if wiring.outputs else predictions


def loss_weights_of(config: ExperimentConfig, wiring: Wiring) -> dict[str, float] | None:
    """Return the weights of the losses by output; None where none are given.

    Raises:
        ValueError: a weight is no number, an output has two, or the model has one output.
    """
    weights: dict[str, float] = {}
    for name, text in texts_by_output("loss_weights", config, wiring).items():
        try:
            weights[name] = float(text)
        except ValueError:
            raise ValueError(
                f"loss_weights must be numbers, as in main=0.9,aux=0.1, got {text!r} for {name!r}"
            ) from None
    return weights or None


def texts_by_output(setting: str, config: ExperimentConfig, wiring: Wiring) -> dict[str, str]:
    """Return the texts of a setting `output=text` by output.

    Raises:
        ValueError: one has another form, is for no output, or is given twice.
    """
    given: tuple[str, ...] = getattr(config, setting)
    if given and not wiring.outputs:
        raise ValueError(
            f"{setting} is for a model of several outputs, and {config.model.name} has one: leave "
            "it out, or give wide_deep an auxiliary_output"
        )
    texts: dict[str, str] = {}
    for part in given:
        name, equals, text = part.partition("=")
        if not equals:
            raise ValueError(f"{setting} must be output=value, comma-separated, got {part!r}")
        check_choice(f"output of {setting}", name, wiring.outputs)
        if name in texts:
            raise ValueError(f"{setting} must give output {name!r} one value")
        texts[name] = text
    return texts
