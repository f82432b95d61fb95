"""Functions by name with their hyperparameters: `config("nadam", learning_rate=1e-3)`."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, TypeAlias

import trainlib.models as models
import trainlib.registry as registry
from trainlib.core.checks import check_choice
from trainlib.core.hyperparameters import check_declared
from trainlib.experiment.values import as_type, checked_line
from trainlib.models.loading import model_file
from trainlib.training.paths import expanded
from trainlib.user_code import is_spec

AUTO = "auto"

_WITHOUT_MODEL = ("circle", "ctc")
"""Losses of embeddings and sequences: no model of an experiment has outputs for them."""

FUNCTIONS: Mapping[str, Mapping[str, Callable[..., Any]]] = {
    "model": models.MODELS,
    "optimizer": registry.OPTIMIZERS,
    "schedule": {
        name: factory
        for name, factory in registry.SCHEDULES.items()
        if registry.takes_plain_values(factory)
    },
    "monitors": registry.MONITORS,
    "regularizer": registry.REGULARIZERS,
    "constraint": registry.CONSTRAINTS,
    "clipping": registry.CLIPPING,
    "loss": {name: f for name, f in registry.LOSSES.items() if name not in _WITHOUT_MODEL},
    "metrics": {name: f for name, f in registry.METRICS.items() if name not in _WITHOUT_MODEL},
}
"""The functions of the registry that experiments can use, by kind and name."""

SINGULAR = {"metrics": "metric", "monitors": "monitor"}
AUTO_MEMBERS: Mapping[str, tuple[str, ...]] = {
    "loss": ("sparse_categorical_crossentropy", "mean_squared_error"),
    "metrics": ("accuracy", "mean_squared_error", "mean_absolute_error"),
}
"""The functions among which "auto" chooses by the data, by kind."""

LENGTHS = ("decay_steps", "total_steps")
"""Hyperparameters of schedules whose default is the length of the run."""

PEAK = "maximal_learning_rate"
"""Hyperparameter of a schedule that may be given instead of the optimizer's learning rate."""

_SETTLED_BY_DATA = {"loss": ("axis",), "metrics": ("axis",)}
"""Hyperparameters that follow from the data, by kind."""

USER_KINDS = ("model", "optimizer", "schedule", "regularizer", "constraint", "loss", "metrics")
"""Kinds whose functions may be custom ones, given as `module:name`."""

Hyperparameters: TypeAlias = Mapping[str, registry.Hyperparameter]


@dataclass(frozen=True)
class FunctionConfig:
    """A function by name, with the hyperparameters that differ from their defaults.

    Made by `tl.config`.

    Args:
        name: name in the registry, such as "nadam", or `module:name` for a custom function; for
            models also the path of a `.keras` file or of a run folder.
        hyperparameters: values by name: numbers, strings, bools, or sequences of numbers. They are
            copied and cannot be changed. Default: {}.

    Raises:
        TypeError: the name is not a string.

    Example:
        >>> sgd = tl.FunctionConfig("sgd", {"momentum": 0.9})
        >>> sgd == tl.config("sgd", momentum=0.9), sgd.hyperparameters["momentum"]
        (True, 0.9)
    """

    name: str
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.name, str):
            raise TypeError(f"a function's name must be text such as 'adam', got {self.name!r}")
        frozen = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in self.hyperparameters.items()
        }
        object.__setattr__(self, "hyperparameters", MappingProxyType(frozen))

    def __hash__(self) -> int:
        return hash((self.name, frozenset(self.hyperparameters.items())))

    def __reduce__(self) -> tuple[Any, ...]:
        return FunctionConfig, (self.name, dict(self.hyperparameters))

    def __repr__(self) -> str:
        given = (f"{name}={value!r}" for name, value in self.hyperparameters.items())
        return f"config({', '.join([repr(self.name), *given])})"


def config(name: str, **hyperparameters: Any) -> FunctionConfig:
    """Return a function by name with hyperparameters, for an `ExperimentConfig`.

    Args:
        name: name in the registry, such as "nadam", "cosine_decay" or "huber", or `module:name`
            for a custom function.
        **hyperparameters: numbers, strings, bools or sequences of numbers by name. Default: the
            function's defaults. An optimizer's `learning_rate` may be "auto", found by a range
            test.

    Returns:
        A `FunctionConfig`. The names are checked when an `ExperimentConfig` is made with it.

    Example:
        >>> tl.config("nadam", learning_rate=1e-3)
        config('nadam', learning_rate=0.001)
    """
    return FunctionConfig(name, hyperparameters)


def full_name(kind: str, name: str) -> str:
    """Return the full name of a function, given its full or short name, such as "mse"."""
    return registry.full_name(SINGULAR.get(kind, kind), name)


def is_user_function(kind: str, name: str) -> bool:
    """Return whether a name is that of a custom function: `module:name`, or a `.keras` file.

    Raises:
        ValueError: the text before or after the colon is missing.
    """
    if kind not in USER_KINDS or not is_spec(name):
        return kind == "model" and models.is_custom(name)
    if not all(name.partition(":")) and not name.endswith(".keras"):
        raise ValueError(f"{kind} {name!r}: must be written module:function")
    return True


def takes(kind: str, name: str) -> Hyperparameters:
    """Return the hyperparameters of a function; for "auto", those of all candidates.

    The learning rate of a schedule is left out, because the optimizer's is used; but a largest
    learning rate may be given instead of it. Custom functions have no hyperparameters, except the
    learning rate of a custom optimizer.
    """
    if kind == "optimizer" and is_spec(name):
        return {"learning_rate": takes(kind, "sgd")["learning_rate"]}
    if name == AUTO and kind in AUTO_MEMBERS:
        members = [takes(kind, member) for member in AUTO_MEMBERS[kind]]
        return {name: h for member in members for name, h in member.items()}
    if name not in FUNCTIONS[kind]:
        return {}
    factory = FUNCTIONS[kind][name]
    rate = rate_argument(kind, name)
    left_out = (rate if rate != PEAK else None, *_SETTLED_BY_DATA.get(kind, ()))
    found = {h: x for h, x in registry.hyperparameters(factory).items() if h not in left_out}
    if rate == PEAK:
        found[PEAK] = _by_default_the_optimizers(found[PEAK])
    return found


def _by_default_the_optimizers(rate: registry.Hyperparameter) -> registry.Hyperparameter:
    help = f"{rate.help}; by default the optimizer's learning rate"
    return rate._replace(required=False, help=help)


def rate_argument(kind: str, name: str) -> str | None:
    """Return the argument of a schedule that gets the optimizer's learning rate, or None."""
    if kind != "schedule":
        return None
    if is_spec(name):
        return "learning_rate"
    first = next(iter(registry.hyperparameters(FUNCTIONS[kind][name])), "")
    return first if first.endswith("_learning_rate") else None


@functools.cache  # every flag asks for them
def all_hyperparameters(kind: str) -> Hyperparameters:
    """Return the hyperparameters of all functions of a kind, by name."""
    union: dict[str, registry.Hyperparameter] = {}
    for name in FUNCTIONS[kind]:
        for hyperparameter, declared in takes(kind, name).items():
            union.setdefault(hyperparameter, declared)
    return MappingProxyType(union)


def type_of(hyperparameter: registry.Hyperparameter) -> str:
    """Return the type of a hyperparameter, one of `trainlib.experiment.values.TYPES`."""
    return "str" if hyperparameter.type in ("axis", "columns") else hyperparameter.type


def floating(kind: str, function: FunctionConfig) -> tuple[str, ...]:
    """Return the names of the given hyperparameters of a function that are floating numbers."""
    declared = takes(kind, function.name)
    return tuple(
        name
        for name, value in function.hyperparameters.items()
        if isinstance(value, (int, float)) and type_of(declared[name]) == "float"
    )


def not_for(
    spelling: str, hyperparameter: str, kind: str, name: str, prefix: str = ""
) -> ValueError:
    """Return the error for a hyperparameter that a function does not take.

    Args:
        spelling: the hyperparameter as the user wrote it, such as "--momentum".
        hyperparameter: name of the hyperparameter.
        kind: kind of the function.
        name: name of the function.
        prefix: prefix of hyperparameters in the message, "--" for flags. Default: "".
    """
    owners = [other for other in FUNCTIONS[kind] if hyperparameter in takes(kind, other)]
    allowed = ", ".join(f"{prefix}{x}" for x in takes(kind, name)) or "none"
    is_for = f"; it is for {', '.join(owners)}" if owners else ""
    return ValueError(f"{spelling} is not for {kind} {name}, which takes {allowed}{is_for}")


def checked_function(kind: str, function: FunctionConfig) -> FunctionConfig:
    """Return a function with its hyperparameters in the declared order and types, after checks.

    Raises:
        ValueError: the function does not exist, it does not take a hyperparameter, or one is out
            of its range or choices.
        TypeError: a hyperparameter has another type.
    """
    checked_line(kind, function.name)
    if kind == "model" and function.name not in models.MODELS:
        name = function.name if models.is_custom(function.name) else _of_run(function.name)
        function = FunctionConfig(name, function.hyperparameters)
    custom = is_user_function(kind, function.name)
    function = FunctionConfig(full_name(kind, function.name), function.hyperparameters)
    if not custom and not (function.name == AUTO and kind in AUTO_MEMBERS):
        check_choice(SINGULAR.get(kind, kind), function.name, FUNCTIONS[kind])
    declared = takes(kind, function.name)
    for name in function.hyperparameters:
        if name not in declared:
            raise not_for(name, name, kind, function.name)
    return FunctionConfig(
        function.name,
        {
            name: _value(kind, h, function.hyperparameters[name])
            for name, h in declared.items()
            if name in function.hyperparameters
        },
    )


def _of_run(name: str) -> str:
    """Return the name of a model, with the model's file for the folder of a run."""
    return str(model_file(name)) if expanded(name).is_dir() else name


def _value(kind: str, hyperparameter: registry.Hyperparameter, value: Any) -> Any:
    if kind == "optimizer" and hyperparameter.name == "learning_rate" and value == AUTO:
        return value
    value = as_type(hyperparameter.name, value, type_of(hyperparameter))
    check_declared(hyperparameter.name, value, hyperparameter.declaration)
    return value


def check_shared(kind: str, functions: Sequence[FunctionConfig]) -> None:
    """Raise `ValueError` if two functions have different values of the same hyperparameter.

    One flag holds the value for all functions of a list.
    """
    for i, first in enumerate(functions):
        for second in functions[i + 1 :]:
            for name in takes(kind, first.name).keys() & takes(kind, second.name).keys():
                values = [function.hyperparameters.get(name) for function in (first, second)]
                if values[0] != values[1]:
                    raise ValueError(
                        f"{kind}: {first.name} and {second.name} both take {name} and "
                        f"must have the same value of it, got {values[0]} and {values[1]}"
                    )
