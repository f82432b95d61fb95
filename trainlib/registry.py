"""The one table of names: flags, tests, benchmarks and documentation read it.

What a rule takes, and its defaults, are read off its factory's signature; what they mean, off the
"Args" of its docstring.
"""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import trainlib.losses as losses
import trainlib.metrics as metrics
import trainlib.optimizers as optimizers
import trainlib.regularizers as regularizers
import trainlib.schedules as schedules
import trainlib.transforms as transforms
from trainlib.checks import check_choice
from trainlib.conventions import default_of

OPTIMIZERS: Mapping[str, Callable[..., Any]] = {
    "sgd": optimizers.sgd,
    "adagrad": optimizers.adagrad,
    "rmsprop": optimizers.rmsprop,
    "adam": optimizers.adam,
    "adamw": optimizers.adamw,
    "adamax": optimizers.adamax,
    "nadam": optimizers.nadam,
    "adamaxw": optimizers.adamaxw,
    "nadamw": optimizers.nadamw,
    "radam": optimizers.radam,
    "adabelief": optimizers.adabelief,
    "yogi": optimizers.yogi,
    "novograd": optimizers.novograd,
    "adan": optimizers.adan,
    "ademamix": optimizers.ademamix,
    "adadelta": optimizers.adadelta,
    "ftrl": optimizers.ftrl,
    "lion": optimizers.lion,
    "sign_sgd": optimizers.sign_sgd,
    "signum": optimizers.signum,
    "rprop": optimizers.rprop,
    "sm3": optimizers.sm3,
    "lamb": optimizers.lamb,
    "lars": optimizers.lars,
    "adafactor": optimizers.adafactor,
    "muon": optimizers.muon,
    "schedule_free_adamw": optimizers.schedule_free_adamw,
    "prodigy": optimizers.prodigy,
}
SCHEDULES: Mapping[str, Callable[..., Any]] = {
    "constant": schedules.constant,
    "exponential_decay": schedules.exponential_decay,
    "cosine_decay": schedules.cosine_decay,
}
REGULARIZERS: Mapping[str, Callable[..., Any]] = {
    "l1": regularizers.l1,
    "l2": regularizers.l2,
    "l1_l2": regularizers.l1_l2,
}
CLIPPING: Mapping[str, Callable[..., Any]] = {
    "clip_by_value": transforms.clip_by_value,
    "clip_by_norm": transforms.clip_by_norm,
    "clip_by_global_norm": transforms.clip_by_global_norm,
}
LOSSES: Mapping[str, Callable[..., Any]] = {
    "mean_squared_error": losses.mean_squared_error,
    "mean_absolute_error": losses.mean_absolute_error,
    "huber": losses.huber,
    "binary_crossentropy": losses.binary_crossentropy,
    "categorical_crossentropy": losses.categorical_crossentropy,
    "sparse_categorical_crossentropy": losses.sparse_categorical_crossentropy,
}
METRICS: Mapping[str, Callable[..., Any]] = {
    "accuracy": metrics.accuracy,
    "mean_squared_error": metrics.mean_squared_error,
    "mean_absolute_error": metrics.mean_absolute_error,
}
KINDS: Mapping[str, Mapping[str, Callable[..., Any]]] = {
    "optimizer": OPTIMIZERS,
    "schedule": SCHEDULES,
    "regularizer": REGULARIZERS,
    "clipping": CLIPPING,
    "loss": LOSSES,
    "metric": METRICS,
}

NOT_HYPERPARAMETERS = ("y_true", "y_pred", "from_logits", "dtype") + (
    "input_shape",
    "outputs",
    "output_activation",
    "preprocessing",
)
"""Arguments that the program fills in, not its user."""

NOT_BY_NAME = ("Mask", "Coefficients", "Sequence[str]")
"""Annotations of arguments that are structures or functions: no flag can hold them."""


class Hyperparameter(NamedTuple):
    """A named argument of a factory: its annotation as text, its default, and what it means.

    `required` ones have no default. `about` is "" where the factory's docstring is silent.
    """

    name: str
    annotation: str
    default: Any
    required: bool
    about: str = ""


def lookup(kind: str, name: Any, table: Mapping[str, Callable[..., Any]] | None = None) -> Any:
    """The function of that name; `ValueError` with the nearest known name where there is none."""
    table = KINDS[kind] if table is None else table
    check_choice(kind, name, table)
    return table[name]


def hyperparameters(
    factory: Callable[..., Any], convention: str | None = None
) -> dict[str, Hyperparameter]:
    """What a factory takes from its user, by name, in the order of its signature.

    Defaults that a convention decides are those of `convention`, or of the factory's own default.
    """
    abouts = _argument_texts(factory)
    found = {}
    for parameter in inspect.signature(factory).parameters.values():
        if parameter.name in NOT_HYPERPARAMETERS or parameter.annotation in NOT_BY_NAME:
            continue
        default = default_of(factory, parameter.name, convention)
        found[parameter.name] = Hyperparameter(
            parameter.name,
            str(parameter.annotation),
            None if default is parameter.empty else default,
            default is parameter.empty,
            abouts.get(parameter.name, ""),
        )
    return found


_ARGUMENT = re.compile(r" {4}(\w+(?:, \w+)*): (.+)")
_REFERENCE = re.compile(r"as in `(\w+)`\.")


@functools.cache
def _argument_texts(factory: Callable[..., Any]) -> dict[str, str]:
    """What the "Args" of a docstring say of each argument, each on one line.

    An argument that is "as in `other`" gets the text of the function `other`.
    """
    texts: dict[str, str] = {}
    names: list[str] = []
    inside = False
    for line in (inspect.getdoc(factory) or "").splitlines():
        argument = _ARGUMENT.fullmatch(line)
        if not line.startswith(" "):
            inside = line == "Args:"
        elif inside and argument:
            names = argument[1].split(", ")
            texts.update(dict.fromkeys(names, argument[2]))
        elif inside:
            for name in names:
                texts[name] += f" {line.strip()}"
    for name, text in texts.items():
        if reference := _REFERENCE.fullmatch(text):
            texts[name] = _argument_texts(_named(reference[1], factory))[name]
    return texts


def _named(name: str, factory: Callable[..., Any]) -> Any:
    """The function of that name in the factory's own module, or in the registry."""
    module = inspect.unwrap(factory).__globals__
    known = {name: f for table in KINDS.values() for name, f in table.items()}
    return module.get(name) or known[name]
