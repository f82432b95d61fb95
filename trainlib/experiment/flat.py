"""A configuration as values by flag, and as the text of a flag file.

The flags of hyperparameters are in `trainlib.experiment.hyperparameter_flags`.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

from trainlib.core.checks import nearest
from trainlib.experiment.fields import FunctionsField, Setting, function_fields, plain_settings
from trainlib.experiment.functions import (
    AUTO,
    FUNCTIONS,
    FunctionConfig,
    all_hyperparameters,
    checked_function,
    takes,
    type_of,
)
from trainlib.experiment.hyperparameter_flags import (
    TAKEN,
    chosen_functions,
    chosen_monitors,
    is_shared,
    spelling,
)
from trainlib.experiment.nested_configs import NESTED
from trainlib.experiment.schedule_config import ScheduleConfig
from trainlib.experiment.tensorboard_config import TensorBoardConfig
from trainlib.experiment.values import parsed, written
from trainlib.training.paths import absolute

C = TypeVar("C")

RESOLVED = ("learning_rate", "execution", "color_mode")
"""Settings whose value "auto" a run replaces by its choice."""

TENSORBOARD = "Write events for TensorBoard; curves, histograms, pictures, the graph and the flags."
SHOWN: Mapping[str, str] = {
    "optimizer.learning_rate": "Learning rate, or auto: found by a range test; the test, that of "
    "lr_find, precedes the run; default: the optimizer's.",
    "schedule.warmup_steps": "Steps of a linear warm-up of the learning rate; it precedes the "
    "schedule. If the schedule or the optimizer has a warm-up, steps of that.",
}
"""Hyperparameters, by kind and name, that --help shows; the others are in help topics."""
MONITOR_HELP: Mapping[str, str] = {
    "reduce_on_plateau": "Reduce the learning rate when a result has stopped improving.",
    "early_stop": "Stop the run when a result has stopped improving.",
}


def check_flags(cls: Any, names: Iterable[str]) -> None:
    """Raise `ValueError` for an unknown flag; the message suggests the nearest one."""
    known = [declared.flag for declared in settings(cls)]
    for name in names:
        if name not in known:
            near = nearest(name, known)
            hint = f": did you mean --{near}?" if near else "; train --help lists the flags"
            raise ValueError(f"unknown flag --{name}{hint}")


def flatten(config: Any) -> dict[str, Any]:
    """Return the values of an `ExperimentConfig` by flag, without those that are None."""
    flat: dict[str, Any] = {}
    for part in (config, *(getattr(config, name) for name in NESTED)):
        if part is not None:
            flat |= {s.flag: getattr(part, name) for name, s in plain_settings(part)}
    flat["tensorboard"] = config.tensorboard is not None
    flat |= {name: config.monitor(name) is not None for name in FUNCTIONS["monitors"]}
    for function in config.monitors:
        flat |= {f"{function.name}_{name}": x for name, x in function.hyperparameters.items()}
    for kind, field, value in _function_values(config):
        functions = field.functions(value)
        if isinstance(field, FunctionsField):
            flat[kind] = tuple(function.name for function in functions)
        elif kind != "clipping" and functions:
            flat[kind] = functions[0].name
        extra = (config.schedule.warmup,) if kind == "schedule" and config.schedule.warmup else ()
        for function in (*functions, *extra):
            flat |= {spelling(kind, name): x for name, x in function.hyperparameters.items()}
    return {flag: value for flag, value in flat.items() if value is not None}


def _function_values(config: Any) -> Iterator[tuple[str, Any, Any]]:
    """Yield kind, field and value of the functions of a configuration, except its monitors."""
    yield "schedule", function_fields(ScheduleConfig)["schedules"], config.schedule.schedules
    for name, field in function_fields(config).items():
        if name != "monitors":
            yield name, field, getattr(config, name)


def unflatten(cls: Callable[..., C], flat: Mapping[str, Any]) -> C:
    """Return the `ExperimentConfig` for values by flag; missing flags have their defaults.

    Args:
        cls: the class `ExperimentConfig`.
        flat: values in the types of the flags, from `flatten` or a command line.

    Raises:
        ValueError, TypeError: a flag or a name is unknown, a hyperparameter is taken by none of the
            chosen functions or by functions of two kinds, or `ExperimentConfig` raises an error.
    """
    check_flags(cls, flat)
    given = {flag: value for flag, value in flat.items() if value is not None}
    functions = chosen_functions(cls, given)
    fields: dict[str, Any] = {"monitors": tuple(chosen_monitors(given))}
    for kind, field in function_fields(cls).items():
        if kind != "monitors":
            several = isinstance(field, FunctionsField)
            fields[kind] = tuple(functions[kind]) if several else next(iter(functions[kind]), None)
    for name, nested in NESTED.items():
        part = _given_fields(nested, given)
        if nested is ScheduleConfig:
            part |= {
                "schedules": functions["schedule"],
                "warmup": next(iter(functions["warmup"]), None),
            }
        if nested is TensorBoardConfig and not given.get("tensorboard"):
            for _, declared in plain_settings(nested):
                if declared.flag in given:
                    raise ValueError(f"--{declared.flag} needs --tensorboard")
        else:
            fields[name] = nested(**part)
    return cls(**fields, **_given_fields(cls, given))


def _given_fields(cls: Any, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the given values of a dataclass's plain settings, by field."""
    return {field: given[s.flag] for field, s in plain_settings(cls) if s.flag in given}


def is_same(flag: str, given: Any, held: Any) -> bool:
    """Return whether a value of a flag, as a user writes it, is the one that a configuration holds.

    Functions may have short names, a model may be the folder of a run, paths may be relative, and
    "auto" is the same as the choice of a run.

    Raises:
        ValueError: a function does not exist.
    """
    if given == held or (given == AUTO and flag in RESOLVED and held is not None):
        return True
    if isinstance(given, tuple) and isinstance(held, tuple):
        if len(given) != len(held):
            return False
        return all(is_same(flag, x, of) for x, of in zip(given, held, strict=True))
    if not isinstance(given, str) or not isinstance(held, str):
        return False
    if flag in FUNCTIONS:
        given = checked_function(flag, FunctionConfig(given)).name
    return held in (given, str(absolute(given)))


def settings(cls: Any) -> tuple[Setting, ...]:
    """Return the declarations of all flags of a configuration class, in the order of --help."""
    return _all_settings(cls)


@functools.cache
def _all_settings(cls: Callable[..., Any]) -> tuple[Setting, ...]:
    found: dict[str, Setting] = {}
    group = ""
    for declared in _settings(cls):
        group = declared.group or group
        if declared.help or declared.flag not in found:
            found.pop(declared.flag, None)
            found[declared.flag] = declared._replace(group=group)
    order = list(dict.fromkeys(s.group for s in found.values()))
    return tuple(sorted(found.values(), key=lambda s: order.index(s.group)))


def _settings(cls: Any) -> Iterator[Setting]:
    functions = function_fields(cls)
    plain = dict(plain_settings(cls))
    for field in dataclasses.fields(cls):
        if field.name in plain:
            yield plain[field.name]
        elif field.name == "monitors":
            yield from _monitor_settings()
        elif field.name in functions or field.name == "schedules":
            yield from _function_settings(functions[field.name])
        elif field.name in NESTED:
            if field.name == "tensorboard":
                yield Setting("tensorboard", "bool", False, TENSORBOARD, "TensorBoard")
            yield from _settings(NESTED[field.name])


def _function_settings(field: Any) -> Iterator[Setting]:
    """Yield the flag for the functions of a field, and the flags of their hyperparameters."""
    kind, several = field.kind, isinstance(field, FunctionsField)
    group = kind.capitalize()
    if kind != "clipping":
        names = tuple(function.name for function in field.functions(field.default))
        default: Any = names if several else next(iter(names), None)
        yield Setting(kind, "strs" if several else "str", default, field.help, group)
    for name, declared in all_hyperparameters(kind).items():
        help = f"{declared.help[:1].upper()}{declared.help[1:]}." if kind == "clipping" else ""
        help = SHOWN.get(f"{kind}.{name}", help)
        if name not in TAKEN:
            yield Setting(name, type_of(declared), None, help, group, kind=kind)
        if is_shared(name):
            yield Setting(f"{kind}_{name}", type_of(declared), None, "", group, kind=kind)


def _monitor_settings() -> Iterator[Setting]:
    for name, help in MONITOR_HELP.items():
        yield Setting(name, "bool", False, help, "Monitors")
        for hyperparameter, declared in takes("monitors", name).items():
            flag = f"{name}_{hyperparameter}"
            yield Setting(flag, type_of(declared), None, "", "Monitors", kind="monitors")


def to_flags(config: Any) -> str:
    """Return an `ExperimentConfig` as the text of a flag file, one flag per line."""
    flat = flatten(config)
    lines = [flag_text(s.flag, flat[s.flag]) for s in settings(type(config)) if s.flag in flat]
    return "\n".join(lines) + "\n"


def flag_text(flag: str, value: Any) -> str:
    """Return a flag and its value as text: `--epochs=5`, `--norms` or `--nonorms`."""
    if isinstance(value, bool):
        return f"--{flag}" if value else f"--no{flag}"
    return f"--{flag}={written(value)}"


def from_flags(cls: Callable[..., C], text: str) -> C:
    """Return the `ExperimentConfig` in a flag file: a flag in each line, # before comments.

    Raises:
        ValueError, TypeError: a line is not a flag, or `unflatten` raises an error.
    """
    return unflatten(cls, flag_values(cls, text))


def flag_values(cls: Any, text: str) -> dict[str, Any]:
    """Return the values in a flag file, by flag.

    Raises:
        ValueError: a line is not a flag.
    """
    declared = {s.flag: s for s in settings(cls)}
    flat: dict[str, Any] = {}
    for line in map(str.strip, text.split("\n")):
        if not line or line.startswith(("#", "//")):
            continue
        name, equals, value = line.removeprefix("-").removeprefix("-").partition("=")
        off = name.removeprefix("no")
        if not equals and off in declared and declared[off].type == "bool" and off != name:
            name, value = off, "false"
        check_flags(cls, [name])
        if not equals and declared[name].type == "bool":
            value = value or "true"
        elif not equals:
            raise ValueError(f"{line}: a flag of this kind is written --{name}=VALUE")
        flat[name] = parse_setting(declared[name], value)
    return flat


def parse_setting(declared: Setting, text: str) -> Any:
    """Parse the value of a setting, written as in a flag file.

    Raises:
        ValueError: the text is not a value of the setting's type.
    """
    if declared.flag == "learning_rate" and text == AUTO:
        return text
    try:
        return parsed(text, declared.type)
    except ValueError as error:
        raise ValueError(f"--{declared.flag}={text}: {error}") from None
