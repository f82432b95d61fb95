"""The one table of names: flags, tests, benchmarks and documentation read it.

What a rule takes, and its defaults, are read off its factory's signature; what they mean, off the
"Args" of its docstring.
"""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import trainlib.constraints as constraints
import trainlib.losses as losses
import trainlib.metrics as metrics
import trainlib.monitors as monitors
import trainlib.optimizers as optimizers
import trainlib.regularizers as regularizers
import trainlib.schedules as schedules
import trainlib.transforms as transforms
from trainlib.core.checks import check_choice
from trainlib.core.conventions import default_of

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
LOSSES: Mapping[str, Callable[..., Any]] = {
    "mean_squared_error": losses.mean_squared_error,
    "mean_absolute_error": losses.mean_absolute_error,
    "mean_absolute_percentage_error": losses.mean_absolute_percentage_error,
    "mean_squared_logarithmic_error": losses.mean_squared_logarithmic_error,
    "huber": losses.huber,
    "log_cosh": losses.log_cosh,
    "poisson": losses.poisson,
    "cosine_similarity": losses.cosine_similarity,
    "binary_crossentropy": losses.binary_crossentropy,
    "categorical_crossentropy": losses.categorical_crossentropy,
    "sparse_categorical_crossentropy": losses.sparse_categorical_crossentropy,
    "binary_focal_crossentropy": losses.binary_focal_crossentropy,
    "categorical_focal_crossentropy": losses.categorical_focal_crossentropy,
    "categorical_generalized_cross_entropy": losses.categorical_generalized_cross_entropy,
    "kl_divergence": losses.kl_divergence,
    "hinge": losses.hinge,
    "squared_hinge": losses.squared_hinge,
    "categorical_hinge": losses.categorical_hinge,
    "dice": losses.dice,
    "tversky": losses.tversky,
    "circle": losses.circle,
    "ctc": losses.ctc,
}
METRICS: Mapping[str, Callable[..., Any]] = {
    "accuracy": metrics.accuracy,
    "binary_accuracy": metrics.binary_accuracy,
    "categorical_accuracy": metrics.categorical_accuracy,
    "sparse_categorical_accuracy": metrics.sparse_categorical_accuracy,
    "top_k_categorical_accuracy": metrics.top_k_categorical_accuracy,
    "sparse_top_k_categorical_accuracy": metrics.sparse_top_k_categorical_accuracy,
    "mean_squared_error": metrics.mean_squared_error,
    "mean_absolute_error": metrics.mean_absolute_error,
    "root_mean_squared_error": metrics.root_mean_squared_error,
    "r2_score": metrics.r2_score,
    "precision": metrics.precision,
    "recall": metrics.recall,
    "f1_score": metrics.f1_score,
    "auc": metrics.auc,
    "confusion_matrix": metrics.confusion_matrix,
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

NOT_HYPERPARAMETERS = ("y_true", "y_pred", "from_logits", "dtype") + (
    "input_shape",
    "outputs",
    "output_activation",
    "preprocessing",
)
"""Arguments that the program fills in, not its user."""

NOT_BY_NAME = ("Mask", "Coefficients", "Sequence[str]", "Tensor | None") + (
    "Schedule",
    "Sequence[Schedule]",
)
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


@functools.cache
def hyperparameters(
    factory: Callable[..., Any], convention: str | None = None
) -> Mapping[str, Hyperparameter]:
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
    return MappingProxyType(found)


def takes_numbers_alone(factory: Callable[..., Any]) -> bool:
    """Whether a factory can be called with what flags hold: it needs no structure or function."""
    return not any(
        parameter.default is parameter.empty and parameter.annotation in NOT_BY_NAME
        for parameter in inspect.signature(factory).parameters.values()
    )


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
