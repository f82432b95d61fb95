"""Checks of every named model before it is built: hyperparameters and the shape of the examples."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import NamedTuple, ParamSpec, TypeVar

from trainlib.core.checks import check_integer
from trainlib.core.hyperparameters import check_declared, declared

P = ParamSpec("P")
Model = TypeVar("Model")


class Input(NamedTuple):
    """The form of the examples that a model takes.

    Attributes:
        axes: allowed numbers of axes of an example.
        text: description of such examples, for messages.
        names: names of the inputs, if the model can also have several. Default: ().
    """

    axes: tuple[int, ...]
    text: str
    names: tuple[str, ...] = ()


ANY = Input((1, 2, 3), "columns, sequences or images, of 1 to 3 axes")
IMAGES = Input((2, 3), "images, of 2 or 3 axes")
SEQUENCES = Input((1, 2), "sequences, of 1 or 2 axes")

INPUTS: Mapping[str, Input] = {
    "perceptron": ANY,
    "mlp": ANY,
    "cnn": IMAGES,
    "separable_cnn": IMAGES,
    "resnet": IMAGES,
    "wide_deep": ANY._replace(names=("wide", "deep")),
    "autoencoder": ANY,
    "rnn": SEQUENCES,
    "transformer": SEQUENCES,
}
"""The examples that each named model takes."""


def named_model(function: Callable[P, Model]) -> Callable[P, Model]:
    """Decorate a model's function: check hyperparameters and the shape of the examples first."""
    signature = inspect.signature(function)

    @functools.wraps(function)
    def checked(*args: P.args, **kwargs: P.kwargs) -> Model:
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        given = bound.arguments
        check_integer("outputs", given["outputs"], at_least=1)
        check_input_shape(function.__name__, given["input_shape"])
        for name, value in given.items():
            if declaration := declared("model", function.__name__, name):
                check_declared(name, value, declaration)
        return function(*args, **kwargs)

    return checked


def check_input_shape(model: str, shape: tuple[int, ...] | Mapping[str, tuple[int, ...]]) -> None:
    """Raise `ValueError` unless a model takes examples of a shape; the message has others."""
    if isinstance(shape, Mapping):
        if not INPUTS[model].names:
            takers = [
                f"{key} takes {' and '.join(x.names)}" for key, x in INPUTS.items() if x.names
            ]
            raise ValueError(
                f"model {model} has one input, but the examples have {', '.join(shape)}: "
                f"{'; '.join(takers)}, and your own model any"
            )
        return
    if len(shape) not in INPUTS[model].axes:
        fitting = [name for name, taken in INPUTS.items() if len(shape) in taken.axes]
        others = f"; models that do: {', '.join(fitting)}" if fitting else ""
        raise ValueError(
            f"model {model} needs {INPUTS[model].text}; the examples have shape {shape}{others}"
        )


def check_sides(model: str, shape: tuple[int, ...], smallest: int) -> None:
    """Raise `ValueError` for images that are too small for a model."""
    if min(shape[:2]) < smallest:
        raise ValueError(
            f"model {model} needs images of at least {smallest}x{smallest}; the examples have "
            f"shape {shape}"
        )
