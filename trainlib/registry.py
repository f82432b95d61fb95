"""The registry: tables of functions by name, which flags, tests and documentation read.

Hyperparameters are declared in `trainlib.core.hyperparameters`; their defaults are those of the
factories' signatures and conventions. `hyperparameters` joins the two.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import trainlib.constraints as constraints
import trainlib.monitors as monitors
import trainlib.optimizers as optimizers
import trainlib.regularizers as regularizers
import trainlib.schedules as schedules
import trainlib.transforms as transforms
from trainlib.core.checks import check_choice
from trainlib.core.conventions import conventions_of, default_of, defaults_of
from trainlib.core.hyperparameters import INPUTS, Declaration
from trainlib.core.hyperparameters import declared as declaration_of
from trainlib.losses import names as loss_names
from trainlib.losses.names import LOSSES as LOSSES
from trainlib.metrics import ExampleMetric, Metric
from trainlib.metrics import names as metric_names
from trainlib.metrics.names import EXAMPLE_METRICS
from trainlib.metrics.names import METRICS as METRICS

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
    "constant": schedules.constant_schedule,
    "exponential_decay": schedules.exponential_decay,
    "inverse_time_decay": schedules.inverse_time_decay,
    "power_decay": schedules.power_decay,
    "polynomial_decay": schedules.polynomial_decay,
    "step_decay": schedules.step_decay,
    "piecewise_constant": schedules.piecewise_constant,
    "hold_then_decay": schedules.hold_then_decay,
    "inverse_sqrt_decay": schedules.inverse_sqrt_decay,
    "cosine_decay": schedules.cosine_decay,
    "cosine_decay_restarts": schedules.cosine_decay_restarts,
    "one_cycle": schedules.one_cycle,
    "cyclic": schedules.cyclic,
    "warmup_stable_decay": schedules.warmup_stable_decay,
    "linear_warmup": schedules.linear_warmup,
    "join_schedules": schedules.join_schedules,
    "per_epoch": schedules.per_epoch,
}
REGULARIZERS: Mapping[str, Callable[..., Any]] = {
    "l1": regularizers.l1,
    "l2": regularizers.l2,
    "l1_l2": regularizers.l1_l2,
    "orthogonal": regularizers.orthogonal,
}
CONSTRAINTS: Mapping[str, Callable[..., Any]] = {
    "max_norm": constraints.max_norm,
    "non_neg": constraints.non_neg,
    "unit_norm": constraints.unit_norm,
    "min_max_norm": constraints.min_max_norm,
}
MONITORS: Mapping[str, Callable[..., Any]] = {
    "reduce_on_plateau": monitors.reduce_on_plateau,
    "early_stop": monitors.early_stop,
}
CLIPPING: Mapping[str, Callable[..., Any]] = {
    "clip_by_value": transforms.clip_by_value,
    "clip_by_norm": transforms.clip_by_norm,
    "clip_by_global_norm": transforms.clip_by_global_norm,
    "adaptive_clip": transforms.adaptive_clip,
}
KINDS: Mapping[str, Mapping[str, Callable[..., Any]]] = {
    "optimizer": OPTIMIZERS,
    "schedule": SCHEDULES,
    "monitor": MONITORS,
    "regularizer": REGULARIZERS,
    "constraint": CONSTRAINTS,
    "clipping": CLIPPING,
    "loss": LOSSES,
    "metric": METRICS,
}

ALIASES: Mapping[str, Mapping[str, str]] = {
    "loss": loss_names.ALIASES,
    "metric": metric_names.ALIASES,
}
"""Short names by kind, such as "mse", and the names that they stand for."""

TRANSFORMS: Mapping[str, Callable[..., Any]] = {
    "accumulate": transforms.accumulate,
    "add_decayed_weights": transforms.add_decayed_weights,
    "add_noise": transforms.add_noise,
    "centralize": transforms.centralize,
    "constrain": transforms.constrain,
    "ema": transforms.ema,
    "lookahead": transforms.lookahead,
    "partition": transforms.partition,
    "sam": transforms.sam,
    "scale": transforms.scale,
    "scale_by_schedule": transforms.scale_by_schedule,
    "swa": transforms.swa,
}
"""Transforms that have hyperparameters but are not chosen by name."""


class Hyperparameter(NamedTuple):
    """A hyperparameter of a factory: its declaration and its defaults.

    Attributes:
        name: the name of the factory's parameter.
        type: "float", "int", "bool", "str", "ints" and "floats" (sequences), "axis" or "columns".
        default: the default under the requested convention; None if the hyperparameter is required.
        required: whether there is no default.
        help: one line: what it sets, its unit, its range and its choices.
        defaults: by convention, if they depend on it; {} if not.
        declaration: the declaration, with the range and the choices as data.
    """

    name: str
    type: str
    default: Any
    required: bool
    help: str
    defaults: Mapping[str, Any]
    declaration: Declaration

    @property
    def default_text(self) -> str:
        """The default as text, such as "0.001 (torch 0.01)"; "" if required."""
        if self.required:
            return ""
        others: dict[str, list[str]] = {}
        for convention, default in self.defaults.items():
            if default != self.default:
                others.setdefault(_text(default), []).append(convention)
        listed = ", ".join(f"{_listed(names)} {text}" for text, names in others.items())
        return _text(self.default) + (f" ({listed})" if listed else "")


def full_name(kind: str, name: str) -> str:
    """Return the name in the registry for a short name; any other name unchanged.

    Args:
        kind: a key of `KINDS`.
        name: a name, or a short one such as "mse", in lower or upper case.

    Returns:
        The name.

    Example:
        >>> tl.registry.full_name("loss", "mse"), tl.registry.full_name("metric", "auc")
        ('mean_squared_error', 'auc')
    """
    if not isinstance(name, str) or name in KINDS.get(kind, {}):
        return name
    return ALIASES.get(kind, {}).get(name.lower(), name)


def lookup(kind: str, name: Any, table: Mapping[str, Callable[..., Any]] | None = None) -> Any:
    """Return the function of a kind by its name.

    Args:
        kind: a key of `KINDS`; with a table, any word, for the message of an error.
        name: the name of the function, or a short one such as "mse".
        table: the functions by name; by default those of the kind in the registry.

    Raises:
        ValueError: there is no such name; the message has the nearest one.
    """
    if table is None:
        table, name = KINDS[kind], full_name(kind, name)
        owner = next((k for k in KINDS if full_name(k, name) in KINDS[k]), None)
        if owner is not None and name not in table:
            raise ValueError(
                f"unknown {kind} {name!r}, which is the name of another kind: {owner}; choose "
                f"from {', '.join(table)}"
            )
    check_choice(kind, name, table)
    return table[name]


def make_metric(name: str, **options: Any) -> Metric | ExampleMetric:
    """Return a metric by its name.

    Args:
        name: a name of `METRICS`, or a short one such as "acc".
        **options: hyperparameters by name.

    Returns:
        A per-example function with its options, or a `Metric`.

    Raises:
        ValueError: there is no such name, or an option is out of range.
        TypeError: the metric lacks a required option, or does not take one.

    Example:
        >>> metric = tl.registry.make_metric("binary_accuracy", threshold=0.8)
        >>> metric([1.0, 0.0], [0.7, 0.7]).numpy()
        array([0., 1.], dtype=float32)
    """
    factory: Callable[..., Any] = lookup("metric", name)
    name = full_name("metric", name)
    if name in EXAMPLE_METRICS:
        return functools.partial(factory, **options) if options else factory
    for option, declared in hyperparameters(factory).items():
        if declared.required and option not in options:
            raise TypeError(
                f"metric {name} needs {option}: write "
                f'metrics={{"{name}": tl.metrics.{name}({option}=...)}}'
            )
    metric: Metric = factory(**options)
    return metric


@functools.cache
def hyperparameters(
    factory: Callable[..., Any], convention: str | None = None
) -> Mapping[str, Hyperparameter]:
    """Return the hyperparameters of a factory by name, in the order of its signature.

    Its inputs, such as y_true, and the parameters that no flag can hold, such as masks, are left
    out.

    Args:
        factory: a function of the registry, a model's function, or your own. What is not declared
            has the type of its default, and no help.
        convention: the convention whose defaults are returned; by default the factory's own.

    Raises:
        ValueError: the factory has no such convention.

    Example:
        >>> rate = tl.registry.hyperparameters(tl.adagrad, "torch")["learning_rate"]
        >>> rate.type, rate.default
        ('float', 0.01)
    """
    found = {}
    for parameter in inspect.signature(factory).parameters.values():
        declaration = _declaration(factory, parameter)
        if parameter.name in INPUTS or declaration.type == "structure":
            continue
        default = default_of(factory, parameter.name, convention)
        required = default is parameter.empty
        found[parameter.name] = Hyperparameter(
            parameter.name,
            declaration.type,
            None if required else default,
            required,
            declaration.help,
            MappingProxyType(defaults_of(factory, parameter.name)),
            declaration,
        )
    return MappingProxyType(found)


def takes_plain_values(factory: Callable[..., Any]) -> bool:
    """Return whether a factory can be called with plain values alone, without a structure.

    Plain values are numbers, bools, strings and sequences of numbers.

    Args:
        factory: a function of the registry, a model's function, or your own.

    Returns:
        False if a required parameter is declared as a structure.

    Example:
        >>> tl.registry.takes_plain_values(tl.adam), tl.registry.takes_plain_values(tl.per_epoch)
        (True, False)
    """
    return not any(
        parameter.default is parameter.empty
        and _declaration(factory, parameter).type == "structure"
        for parameter in inspect.signature(factory).parameters.values()
    )


@functools.cache
def _kinds() -> Mapping[Callable[..., Any], str]:
    """Return the kind of every function in the registry."""
    tables = {**KINDS, "transform": TRANSFORMS}
    kinds = {factory: kind for kind, table in tables.items() for factory in table.values()}
    return {**kinds, optimizers.sophia: "optimizer"}


def _declaration(factory: Callable[..., Any], parameter: inspect.Parameter) -> Declaration:
    """Return the declaration of a parameter; one by the type of its default if there is none."""
    kind = _kinds().get(factory, getattr(factory, "kind", "model"))
    found = declaration_of(kind, factory.__name__, parameter.name)
    if found is None:
        named = {bool: "bool", int: "int", str: "str"}
        return Declaration(named.get(type(parameter.default), "float"), "")
    if parameter.name == "convention":
        return found._replace(choices=tuple(conventions_of(factory)))
    return found


def _listed(names: list[str]) -> str:
    """Return names as text: "a, b and c"."""
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def _text(default: Any) -> str:
    """Return a default as a flag takes it."""
    if isinstance(default, (tuple, list)):
        return ",".join(map(str, default))
    return f"{default:g}" if isinstance(default, float) else str(default)
