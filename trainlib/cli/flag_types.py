"""Flags by type: how each is defined, parsed, written back and shown in a help text."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from absl import flags

from trainlib.core.checks import nearest

Values = flags.FlagValues


class Flag(flags.Flag[Any]):
    """A flag, with what its entry in a help text shows.

    Attributes:
        metavar: placeholder of the value in the help text, such as INTEGER.
        hidden: leave the flag out of --help; a topic, `--help=TOPIC`, shows it.
        words: values that a shell completes; () for any text.
        is_path: whether a shell completes names of files.
    """

    metavar: str = "TEXT"
    hidden: bool = False
    words: Sequence[str] = ()
    is_path: bool = False


class RepeatedFlag(flags.MultiFlag[Any], Flag):
    """A flag that may be given several times."""


class Group(NamedTuple):
    """Flags under one heading of the help text.

    Attributes:
        values: where the flags are defined.
        title: the heading.
        hidden: leave these flags out of --help; a topic, `--help=TOPIC`, shows them.
    """

    values: Values
    title: str
    hidden: bool = False

    def string(self, name: str, default: str | None, help: str, metavar: str = "TEXT") -> None:
        """Define a flag that holds text."""
        parser: Any = flags.ArgumentParser[str]()
        self._define(parser, name, default, help, metavar)

    def path(self, name: str, default: str | None, help: str) -> None:
        """Define a flag that holds a path; `~` is the home folder."""
        self._define(_Path(), name, default, help, "PATH")

    def integer(self, name: str, default: int | None, help: str) -> None:
        """Define a flag that holds an integer."""
        self._define(_Integer(), name, default, help, "INTEGER")

    def number(self, name: str, default: float | None, help: str) -> None:
        """Define a flag that holds a floating-point number."""
        self._define(_Number(), name, default, help, "NUMBER")

    def boolean(
        self, name: str, default: bool | None, help: str, short_name: str | None = None
    ) -> None:
        """Define a flag that is switched on by `--name` and off by `--noname`."""
        self._define(_Boolean(), name, default, help, "", short_name=short_name, boolean=True)

    def choice(self, name: str, default: str | None, options: Sequence[str], help: str) -> None:
        """Define a flag that holds one of some words."""
        self._define(_Choice(options), name, default, help, "|".join(options))

    def integers(self, name: str, default: list[int] | None, help: str) -> None:
        """Define a flag that holds comma-separated integers."""
        self._define_list(int, "integers", name, default, help)

    def numbers(self, name: str, default: list[float] | None, help: str) -> None:
        """Define a flag that holds comma-separated numbers."""
        self._define_list(float, "numbers", name, default, help)

    def strings(
        self, name: str, default: list[str] | None, help: str, metavar: str = "WORDS"
    ) -> None:
        """Define a flag that holds comma-separated words."""
        self._define_list(str.strip, metavar.lower(), name, default, help)

    def texts(self, name: str, help: str, metavar: str = "TEXT") -> None:
        """Define a flag that holds text and may be given several times; the value is a list."""
        serializer: Any = flags.ArgumentSerializer[Any]()
        parser: Any = flags.ArgumentParser[str]()
        make: Any = RepeatedFlag
        flag = make(parser, serializer, name, None, help)
        flag.metavar, flag.hidden = metavar, self.hidden
        flags.DEFINE_flag(flag, self.values, module_name=self.title)

    def number_or(self, word: str, name: str, default: float | None, help: str) -> None:
        """Define a flag that holds a number or one word."""
        self._define(_NumberOr(word), name, default, help, f"NUMBER|{word}")

    def _define_list(
        self,
        item: Callable[[str], Any],
        items: str,
        name: str,
        default: list[Any] | None,
        help: str,
    ) -> None:
        parser = _List(item, f"comma-separated {items}")
        serializer: Any = flags.ListSerializer(",")
        self._define(parser, name, default, help, items.upper(), serializer=serializer)

    def _define(
        self,
        parser: Any,
        name: str,
        default: Any,
        help: str,
        metavar: str,
        serializer: Any = None,
        **options: Any,
    ) -> None:
        serializer = serializer or flags.ArgumentSerializer[Any]()
        flag = Flag(parser, serializer, name, default, help, **options)
        flag.metavar, flag.hidden = metavar, self.hidden
        flag.words = getattr(parser, "options", ())
        flag.is_path = isinstance(parser, _Path)
        flags.DEFINE_flag(flag, self.values, module_name=self.title)


def each_flag(values: Values) -> Iterator[Flag]:
    """Yield all flags, group by group, in the order of their definition."""
    for members in values.flags_by_module_dict().values():
        yield from members  # type: ignore[misc]


def format_value(value: Any) -> str:
    """Return the value of a flag as it is written in a command; lists are comma-separated."""
    return ",".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


class _Choice(flags.ArgumentParser[str]):
    def __init__(self, options: Sequence[str]) -> None:
        self.options = list(options)

    def parse(self, argument: str) -> str:
        if argument not in self.options:
            near = nearest(argument, self.options)
            hint = "" if near is None else f"did you mean {near}? "
            raise ValueError(f"{hint}choose from {', '.join(self.options)}")
        return argument


class _Path(flags.ArgumentParser[str]):
    def parse(self, argument: str) -> str:
        return os.path.expanduser(argument)


class _Integer(flags.ArgumentParser[int]):
    def parse(self, argument: str | int) -> int:
        try:
            return int(argument)
        except ValueError:
            raise ValueError(f"{argument!r} is not an integer") from None


class _Number(flags.ArgumentParser[float]):
    def parse(self, argument: str | float) -> float:
        try:
            return float(argument)
        except ValueError:
            raise ValueError(f"{argument!r} is not a number") from None


class _Boolean(flags.BooleanParser):
    def parse(self, argument: str | int | bool) -> bool:
        try:
            return super().parse(argument)
        except ValueError:
            raise ValueError(f"{argument!r} is neither true nor false") from None


class _List(flags.ArgumentParser[list[Any]]):
    def __init__(self, item: Callable[[str], Any], expected: str) -> None:
        self.item = item
        self.expected = expected

    def parse(self, argument: str | list[Any]) -> list[Any]:
        if isinstance(argument, list):
            return argument
        try:
            return [self.item(part) for part in argument.split(",")] if argument else []
        except ValueError:
            raise ValueError(f"{argument!r} is not {self.expected}") from None


class _NumberOr(flags.ArgumentParser[Any]):
    def __init__(self, word: str) -> None:
        self.word = word

    def parse(self, argument: str | float) -> str | float:
        try:
            return self.word if argument == self.word else float(argument)
        except ValueError:
            raise ValueError(f"{argument!r} is neither a number nor {self.word!r}") from None
