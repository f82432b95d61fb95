"""The flags of hyperparameters, and the functions that given flags choose.

The flag of a hyperparameter is

- its name, `--alpha`, if the chosen functions of only one kind take it;
- its kind and name, `--schedule_alpha`, if the chosen functions of two kinds take it: the name
  alone is ambiguous, and raises an error;
- the name of the monitor and its name, `--early_stop_patience`, for a hyperparameter of a monitor.

The flag with the kind exists if functions of several kinds have a hyperparameter of that name. Flag
files use it then.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from typing import Any

from trainlib.experiment.fields import function_fields
from trainlib.experiment.functions import (
    FUNCTIONS,
    FunctionConfig,
    all_hyperparameters,
    checked_function,
    full_name,
    not_for,
    takes,
)
from trainlib.experiment.schedule_config import WARMUP, ScheduleConfig

AMBIGUITY = (
    "Write a hyperparameter by its name, as in --alpha=0.1. If functions of two kinds that you "
    "chose have one of that name, write the kind too, as in --schedule_alpha=0.1 "
    "--loss_alpha=0.25."
)
"""Explanation of the flags of hyperparameters, for the help text."""
KINDS = tuple(kind for kind in FUNCTIONS if kind != "monitors")
"""Kinds whose functions may have hyperparameters of the same name."""
TAKEN = ("precision",)
"""Hyperparameters with the names of other flags; their flags always have the kind."""


@functools.cache
def is_shared(hyperparameter: str) -> bool:
    """Return whether a hyperparameter has a flag with its kind.

    It has one if functions of several kinds have a hyperparameter of that name, or if another flag
    has the name.
    """
    kinds = [kind for kind in KINDS if hyperparameter in all_hyperparameters(kind)]
    return hyperparameter in TAKEN or len(kinds) > 1


def spelling(kind: str, hyperparameter: str) -> str:
    """Return the flag of a hyperparameter in flag files."""
    return f"{kind}_{hyperparameter}" if is_shared(hyperparameter) else hyperparameter


def chosen_functions(cls: Any, given: Mapping[str, Any]) -> dict[str, list[FunctionConfig]]:
    """Return the functions that flags choose, by kind, each with its hyperparameters.

    The key "warmup" has the warm-up before the schedule, if there is one.
    """
    chosen = _chosen(cls, given)
    warms_up = _warms_up(given, chosen)
    if warms_up:
        chosen["schedule"].append(WARMUP)
    for kind, names in chosen.items():
        for name in names:
            checked_function(kind, FunctionConfig(name))
    values: dict[str, dict[str, Any]] = {kind: {} for kind in KINDS}
    for flag, (kinds, name) in hyperparameter_flags().items():
        if flag not in given:
            continue
        takers = [k for k in kinds if any(name in takes(k, function) for function in chosen[k])]
        if not takers:
            raise _refused(flag, name, kinds[0], chosen[kinds[0]])
        if len(takers) > 1:
            raise _ambiguous(name, takers, chosen)
        (kind,) = takers
        if name in values[kind] and values[kind][name] != given[flag]:
            raise ValueError(
                f"--{flag}={given[flag]} and --{name}={given[name]} set the same "
                "hyperparameter: give one of them"
            )
        values[kind][name] = given[flag]
    functions = {
        kind: [
            FunctionConfig(name, {h: x for h, x in values[kind].items() if h in takes(kind, name)})
            for name in names
        ]
        for kind, names in chosen.items()
    }
    return {**functions, "warmup": [functions["schedule"].pop()] if warms_up else []}


def chosen_monitors(given: Mapping[str, Any]) -> Iterator[FunctionConfig]:
    """Yield the monitors that flags enable, each with its hyperparameters."""
    for name in FUNCTIONS["monitors"]:
        flags = {h: f"{name}_{h}" for h in takes("monitors", name) if f"{name}_{h}" in given}
        if given.get(name):
            yield FunctionConfig(name, {h: given[flag] for h, flag in flags.items()})
        elif flags:
            raise ValueError(f"--{next(iter(flags.values()))} needs --{name}")


def _chosen(cls: Any, given: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return the names of the functions that flags choose, by kind."""
    chosen = {}
    for kind, field, value in _default_functions(cls):
        names = given.get(kind, tuple(function.name for function in field.functions(value)))
        names = [names] if isinstance(names, str) else names
        chosen[kind] = [full_name(kind, name) for name in names]
    chosen["clipping"] = [
        name
        for name in FUNCTIONS["clipping"]
        if any(h in given or spelling("clipping", h) in given for h in takes("clipping", name))
    ]
    if len(chosen["clipping"]) > 1:
        flags = ", ".join(f"--{spelling('clipping', h)}" for h in all_hyperparameters("clipping"))
        raise ValueError(f"give only one of {flags}")
    return {kind: chosen[kind] for kind in KINDS}


def _default_functions(cls: Any) -> Iterator[tuple[str, Any, Any]]:
    schedule = function_fields(ScheduleConfig)["schedules"]
    yield "schedule", schedule, schedule.default
    for name, field in function_fields(cls).items():
        if name not in ("monitors", "clipping"):
            yield name, field, field.default


def _warms_up(given: Mapping[str, Any], chosen: Mapping[str, list[str]]) -> bool:
    """Return whether flags set a warm-up that is not part of the schedule or the optimizer."""

    def take(kind: str) -> bool:
        return any("warmup_steps" in takes(kind, name) for name in chosen[kind])

    if take("schedule"):
        return False
    return "schedule_warmup_steps" in given or ("warmup_steps" in given and not take("optimizer"))


def _refused(flag: str, hyperparameter: str, kind: str, names: list[str]) -> ValueError:
    if names:
        return not_for(f"--{flag}", hyperparameter, kind, names[0], "--")
    owners = [name for name in FUNCTIONS[kind] if hyperparameter in takes(kind, name)]
    return ValueError(f"--{flag} needs --{kind}={' or '.join(owners)}")


def _ambiguous(name: str, kinds: list[str], chosen: Mapping[str, list[str]]) -> ValueError:
    owners = [f"{kind} {next(x for x in chosen[kind] if name in takes(kind, x))}" for kind in kinds]
    flags = " or ".join(f"--{kind}_{name}" for kind in kinds)
    return ValueError(f"--{name} is ambiguous: {' and '.join(owners)} take it; give {flags}")


@functools.cache
def hyperparameter_flags() -> Mapping[str, tuple[tuple[str, ...], str]]:
    """Return, for each flag of a hyperparameter, its kinds and its name."""
    flags: dict[str, tuple[tuple[str, ...], str]] = {}
    for kind in KINDS:
        for name in all_hyperparameters(kind):
            kinds = tuple(k for k in KINDS if name in all_hyperparameters(k))
            if name not in TAKEN:
                flags[name] = kinds, name
            if is_shared(name):
                flags[f"{kind}_{name}"] = (kind,), name
    return flags
