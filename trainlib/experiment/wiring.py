"""The inputs and outputs of an experiment's model: columns of a table, targets for each output."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np

import trainlib.models as models
from trainlib.core.checks import check_choice
from trainlib.core.types import Tree
from trainlib.experiment.config import ExperimentConfig
from trainlib.models.wide_deep import Wiring

T = TypeVar("T")

ONE = Wiring({}, ())
"""One input, the examples as they are, and one output."""
_OF_MODELS: Mapping[str, tuple[Callable[..., Wiring], tuple[str, ...]]] = {
    "wide_deep": (models.wiring, ("wide_columns", "deep_columns", "auxiliary_output")),
}
"""Models of several inputs or outputs: the function that tells these, and its hyperparameters."""


def wiring_of(config: ExperimentConfig, shape: tuple[int, ...]) -> Wiring:
    """Return the inputs and the outputs of the model of a configuration.

    Args:
        config: the experiment.
        shape: shape of one example.

    Raises:
        ValueError: the examples lack a column, or are no table.
    """
    if config.model.name not in _OF_MODELS:
        return ONE
    function, names = _OF_MODELS[config.model.name]
    given = config.model.hyperparameters
    return function(shape, **{name: given[name] for name in names if name in given})


def inputs_of(wiring: Wiring, x: Any) -> Tree:
    """Return examples as the inputs of a model: x itself, or the columns of each input."""
    if not wiring.inputs:
        return x
    return {name: np.asarray(x[:, list(columns)]) for name, columns in wiring.inputs.items()}


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
