"""The fields of the configuration's dataclasses: plain settings, and functions by name."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Generic, NamedTuple, TypeVar, overload

from trainlib.core.checks import check_choice, check_integer, check_number
from trainlib.experiment.functions import FUNCTIONS, FunctionConfig, checked_function, takes
from trainlib.experiment.values import as_type

T = TypeVar("T")
Given = TypeVar("Given")


class Setting(NamedTuple):
    """Declaration of a setting with one flag.

    Attributes:
        flag: name of the flag.
        type: type of the value, one of `trainlib.experiment.values.TYPES`.
        default: default value.
        help: help text of the flag, which begins with a short sentence that is complete by itself.
        group: heading under which the help text shows it.
        choices: allowed words; () for any.
        bounds: allowed range, as `check_number` takes it.
        kind: for a hyperparameter, the kind of its functions; "" for other settings.
    """

    flag: str
    type: str
    default: Any
    help: str
    group: str = ""
    choices: tuple[str, ...] = ()
    bounds: Mapping[str, float] = {}
    kind: str = ""


def setting(
    kind: str,
    default: Any,
    help: str,
    *,
    flag: str = "",
    group: str = "",
    choices: Iterable[str] = (),
    **bounds: float,
) -> Any:
    """Return a dataclass field for a plain setting.

    Args:
        kind: type of the value, one of `trainlib.experiment.values.TYPES`.
        default: default value; None makes the setting optional.
        help: help text.
        flag: name of the flag. Default: "", the name of the field.
        group: heading in the help text, which also applies to the fields after this one. Default:
            "", the heading of the field before.
        choices: allowed words.
        **bounds: `at_least`, `above`, `at_most` or `below`.
    """
    declared = Setting(flag, kind, default, help, group, tuple(choices), bounds)
    return dataclasses.field(default=default, metadata={"setting": declared})


def setting_of(field: dataclasses.Field[Any]) -> Setting | None:
    """Return the declaration of a field of a dataclass; None for other fields."""
    declared: Setting | None = field.metadata.get("setting")
    return declared and declared._replace(flag=declared.flag or field.name)


def plain_settings(of: Any) -> Iterator[tuple[str, Setting]]:
    """Yield name and declaration of the plain settings of a dataclass or its instance."""
    for field in dataclasses.fields(of):
        if declared := setting_of(field):
            yield field.name, declared


def check_settings(config: Any) -> None:
    """Convert the plain settings of a new configuration to their types, and check them.

    Raises:
        ValueError, TypeError: a value has another type, is out of its range, or is not among the
            choices.
    """
    for name, declared in plain_settings(config):
        value = getattr(config, name)
        if value is None and declared.default is None:
            continue
        shown = declared.flag
        value = as_type(shown, value, declared.type)
        if declared.choices:
            check_choice(shown, value, declared.choices)
        if declared.bounds:
            check: Any = check_integer if declared.type == "int" else check_number
            check(shown, value, **declared.bounds)
        object.__setattr__(config, name, value)


def short_repr(config: Any) -> str:
    """Return the call that makes a configuration, without settings at their defaults."""
    name = type(config).__name__
    default = type(config)()
    changed = (
        f"{field.name}={value!r}"
        for field in dataclasses.fields(config)
        if (value := getattr(config, field.name)) != getattr(default, field.name)
    )
    return f"{name}({', '.join(changed)})"


class ConvertedField(Generic[T, Given]):
    """Descriptor for a field of a frozen dataclass: converts and checks a value when it is set.

    Args:
        default: default value, which is also converted.
    """

    def __init__(self, default: Any) -> None:
        self.default: T = self.convert(default)

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, instance: None, owner: type) -> T: ...
    @overload
    def __get__(self, instance: object, owner: type) -> T: ...
    def __get__(self, instance: object | None, owner: type) -> T:
        value: T = self.default if instance is None else instance.__dict__[self.name]
        return value

    def __set__(self, instance: object, value: Given) -> None:
        instance.__dict__[self.name] = self.convert(value)

    def convert(self, value: Any) -> Any:
        """Return the checked value of the field."""
        raise NotImplementedError


class FunctionDescriptor(ConvertedField[T, Given]):
    """Field for functions of one kind.

    Args:
        kind: kind of the functions, a key of `FUNCTIONS`.
        default: default value.
        help: help text; "{names}" stands for the names of the functions.
    """

    def __init__(self, kind: str, default: Any, help: str = "") -> None:
        self.kind = kind
        self.help = help.format(names=", ".join(FUNCTIONS[kind]))
        super().__init__(default)

    def functions(self, value: T) -> tuple[FunctionConfig, ...]:
        """Return the functions in a value of the field, as a sequence."""
        raise NotImplementedError

    def one(self, value: Any) -> FunctionConfig:
        """Return a checked `FunctionConfig` for a function or its name."""
        if isinstance(value, str):
            value = FunctionConfig(value)
        if not isinstance(value, FunctionConfig):
            raise TypeError(
                f"{self.kind} must be a name or tl.config(name, ...), got {value!r}; choose from "
                f"{', '.join(FUNCTIONS[self.kind])}"
            )
        return checked_function(self.kind, value)


class FunctionField(FunctionDescriptor[FunctionConfig, FunctionConfig | str]):
    """Field for one function: `tl.config(...)` or a name."""

    def convert(self, value: Any) -> FunctionConfig:
        return self.one(value)

    def functions(self, value: FunctionConfig) -> tuple[FunctionConfig, ...]:
        return (value,)


class OptionalFunctionField(FunctionDescriptor[FunctionConfig | None, FunctionConfig | str | None]):
    """Field for one function or None."""

    def convert(self, value: Any) -> FunctionConfig | None:
        return None if value is None else self.one(value)

    def functions(self, value: FunctionConfig | None) -> tuple[FunctionConfig, ...]:
        return () if value is None else (value,)


class ClippingField(OptionalFunctionField):
    """Field for a clipping function, with at least one hyperparameter, or None.

    No flag names the function: it follows from its hyperparameters.
    """

    def convert(self, value: Any) -> FunctionConfig | None:
        function = super().convert(value)
        if function is None or function.hyperparameters:
            return function
        first = next(iter(takes(self.kind, function.name).values()))
        if first.required:
            raise ValueError(f"clipping {function.name} needs {first.name}")
        return FunctionConfig(function.name, {first.name: first.default})


class FunctionsField(
    FunctionDescriptor[
        tuple[FunctionConfig, ...], FunctionConfig | str | Iterable[FunctionConfig | str]
    ]
):
    """Field for several functions: a sequence of functions or names, or a single one."""

    def convert(self, value: Any) -> tuple[FunctionConfig, ...]:
        if isinstance(value, (str, FunctionConfig)):
            value = (value,)
        if not hasattr(value, "__iter__"):
            raise TypeError(f"{self.kind} must be a sequence of names or functions, got {value!r}")
        return tuple(self.one(x) for x in value)

    def functions(self, value: tuple[FunctionConfig, ...]) -> tuple[FunctionConfig, ...]:
        return value


class MonitorsField(FunctionsField):
    """Field for monitors, each at most once, in the order of the registry."""

    def convert(self, value: Any) -> tuple[FunctionConfig, ...]:
        functions = super().convert(value)
        names = [function.name for function in functions]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(
                    f"monitors must hold {name} once, got it {names.count(name)} times"
                )
        order = list(FUNCTIONS[self.kind])
        return tuple(sorted(functions, key=lambda monitor: order.index(monitor.name)))


def function_fields(of: Any) -> dict[str, FunctionDescriptor[Any, Any]]:
    """Return the fields for functions of a dataclass or its instance, by name."""
    owner = of if isinstance(of, type) else type(of)
    return {
        name: declared
        for name, declared in vars(owner).items()
        if isinstance(declared, FunctionDescriptor)
    }
