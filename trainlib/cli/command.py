"""What the commands share: reading flags, answering --help, and turning errors into one line."""

from __future__ import annotations

import contextlib
import os
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn, TextIO

from absl import flags

FAILED = 1
BAD_INPUT = 2
WORKER_GONE = 3
INTERRUPTED = 130

Values = flags.FlagValues


class WorkerGone(Exception):
    """Another process of this run did not come in time, or ended before it was done."""


class Interrupted(Exception):
    """A run that was ended from outside, and can go on.

    Args:
        message: of one line.
        status: the exit status.
    """

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class Failed(Exception):
    """A run that came to an end of which its message tells all."""


class Group(NamedTuple):
    """Defines flags under one heading of --help."""

    values: Values
    title: str

    def text(self, name: str, default: str | None, about: str) -> None:
        """A flag that holds text."""
        flags.DEFINE_string(name, default, about, **self._options())

    def whole(self, name: str, default: int | None, about: str) -> None:
        """A flag that holds a whole number."""
        serializer: Any = flags.ArgumentSerializer[int]()
        flags.DEFINE(_Whole(), name, default, about, serializer=serializer, **self._options())

    def number(self, name: str, default: float | None, about: str) -> None:
        """A flag that holds a number."""
        flags.DEFINE_float(name, default, about, **self._options())

    def switch(self, name: str, default: bool | None, about: str, **more: Any) -> None:
        """A flag that is on or off."""
        flags.DEFINE_bool(name, default, about, **self._options(), **more)
        self.values[name].parser = _Switch()

    def one_of(self, name: str, default: str | None, options: Sequence[str], about: str) -> None:
        """A flag that holds one of some words."""
        flags.DEFINE_enum(name, default, list(options), about, **self._options())

    def whole_numbers(self, name: str, default: list[int] | None, about: str) -> None:
        """A flag that holds whole numbers divided by commas."""
        self._list(_List(int, "whole numbers divided by commas"), name, default, about)

    def numbers(self, name: str, default: list[float] | None, about: str) -> None:
        """A flag that holds numbers divided by commas."""
        self._list(_List(float, "numbers divided by commas"), name, default, about)

    def words(self, name: str, default: list[str] | None, about: str) -> None:
        """A flag that holds words divided by commas."""
        self._list(_List(str.strip, "words divided by commas"), name, default, about)

    def number_or(self, word: str, name: str, default: float | None, about: str) -> None:
        """A flag that holds a number or one word."""
        serializer: Any = flags.ArgumentSerializer[Any]()
        flags.DEFINE(
            _NumberOr(word), name, default, about, serializer=serializer, **self._options()
        )

    def _list(self, parser: Any, name: str, default: list[Any] | None, about: str) -> None:
        serializer: Any = flags.ListSerializer(",")
        flags.DEFINE(parser, name, default, about, serializer=serializer, **self._options())

    def _options(self) -> dict[str, Any]:
        return {"flag_values": self.values, "module_name": self.title}


class _Whole(flags.ArgumentParser[int]):
    syntactic_help = "a whole number"

    def parse(self, argument: str | int) -> int:
        try:
            return int(argument)
        except ValueError:
            raise ValueError(f"{argument!r} is not {self.syntactic_help}") from None


class _Switch(flags.BooleanParser):
    def parse(self, argument: str | int | bool) -> bool:
        try:
            return super().parse(argument)
        except ValueError:
            raise ValueError(f"{argument!r} is neither true nor false") from None


class _List(flags.ArgumentParser[list[Any]]):
    def __init__(self, kind: Callable[[str], Any], syntactic_help: str) -> None:
        self.kind = kind
        self.syntactic_help = syntactic_help

    def parse(self, argument: str | list[Any]) -> list[Any]:
        if isinstance(argument, list):
            return argument
        try:
            return [self.kind(part) for part in argument.split(",")] if argument else []
        except ValueError:
            raise ValueError(f"{argument!r} is not {self.syntactic_help}") from None


class _NumberOr(flags.ArgumentParser[Any]):
    def __init__(self, word: str) -> None:
        self.word = word
        self.syntactic_help = f"a number or {word}"

    def parse(self, argument: str | float) -> str | float:
        try:
            return self.word if argument == self.word else float(argument)
        except ValueError:
            raise ValueError(f"{argument!r} is not {self.syntactic_help}") from None


def ignore_broken_pipe(work: Callable[[Values], None]) -> Callable[[Values], None]:
    """The work of a command whose results are files: it goes on where stdout is gone.

    `train ... | head -1` ends like any other run.
    """

    def in_silence_at_worst(values: Values) -> None:
        stream: Any = _WhileRead(sys.stdout)
        with contextlib.redirect_stdout(stream):
            work(values)
            stream.flush()

    return in_silence_at_worst


class _WhileRead:
    """A text stream that falls silent, instead of raising, once it cannot be written to."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def write(self, text: str) -> int:
        try:
            return self.stream.write(text)
        except OSError:
            _write_nowhere(self.stream)
            return len(text)

    def flush(self) -> None:
        try:
            self.stream.flush()
        except OSError:
            _write_nowhere(self.stream)


def _write_nowhere(stream: TextIO) -> None:
    """Lets all that was and will be written to a file's stream vanish."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def run(
    name: str,
    about: str,
    define: Callable[[Values], None],
    work: Callable[..., None],
    operand: str | None = None,
) -> None:
    """Runs a command; an error is one line on stderr, and its kind the exit status.

    2 is for bad input, 3 for other workers of the run that are gone, 75 for a run that was ended
    with a checkpoint and is to be started again, 130 for an interrupt, and 1 for all else.

    Args:
        name: of the command.
        about: what --help says before the flags.
        define: defines the command's flags.
        work: does the work, given the flags' values; raises ValueError, TypeError or OSError for
            bad input.
        operand: what the command takes without a flag, such as "run": `work` is given a list of
            them too, which is not empty. None: it takes nothing.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    for stream in ("stdout", "stderr"):
        if getattr(sys, stream) is None:  # closed by the shell: `train >&-`
            setattr(sys, stream, open(os.devnull, "w"))
    values: Values = flags.FlagValues()  # type: ignore[no-untyped-call]
    define(values)
    _define_common(values)
    values.set_gnu_getopt(operand is not None)  # flags may come behind what is no flag
    try:
        extra = values(sys.argv)[1:]
        if values.help:
            print(help_text(about, values))
            sys.exit(0)
        if operand is None and extra:
            raise ValueError(f"unexpected argument {extra[0]!r}: flags are given as --name=value")
        if operand is not None and not extra:
            raise ValueError(f"give a {operand}, or several")
        work(values, *([] if operand is None else [extra]))
        sys.stdout.flush()
    except KeyboardInterrupt:
        fail(name, "interrupted", INTERRUPTED)
    except BrokenPipeError:
        _write_nowhere(sys.stdout)
        sys.exit(FAILED)
    except Exception as error:
        if values.is_parsed() and values.traceback:
            raise
        status = status_of(error)
        if status != FAILED or isinstance(error, Failed):
            fail(name, one_line(error), status)
        kind = type(error).__name__
        fail(name, f"{kind}: {one_line(error)} (--traceback shows where it arose)", FAILED)


def status_of(error: BaseException) -> int:
    """The exit status that tells the kind of an error."""
    if isinstance(error, (flags.Error, ValueError, TypeError, OSError)):
        return BAD_INPUT
    if isinstance(error, WorkerGone):
        return WORKER_GONE
    if isinstance(error, Interrupted):
        return error.status
    return INTERRUPTED if isinstance(error, KeyboardInterrupt) else FAILED


def end_at_once(status: int) -> NoReturn:
    """Ends the process, without waiting for its threads or for what libraries do at the end."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(status)


def required(values: Values, name: str) -> Path:
    """The value of a flag that names a path and must be given."""
    if not values[name].value:
        raise ValueError(f"--{name} must be given")
    return Path(str(values[name].value))


def fail(name: str, message: str, status: int) -> NoReturn:
    """Ends the command with one line on stderr."""
    print(f"{name}: {message}", file=sys.stderr)
    sys.exit(status)


def one_line(error: BaseException) -> str:
    """An error's message on one line."""
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror}"
    text = " ".join(str(error).split()).removeprefix("ERROR:: ")
    return textwrap.shorten(text, 1000, placeholder=" ...") or type(error).__name__


def each_flag(values: Values) -> Iterator[Any]:
    """All flags, in the order of --help."""
    for members in values.flags_by_module_dict().values():
        yield from members


def as_text(value: Any) -> str:
    """A flag's value as it is written: words and numbers of a list divided by commas."""
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def help_text(about: str, values: Values) -> str:
    """The flags with their defaults, in the groups that they were defined in."""
    parts = [about.strip()]
    for group, members in values.flags_by_module_dict().items():
        parts.append(f"{group}:\n" + "\n".join(_describe(flag) for flag in members))
    return "\n\n".join(parts)


def _describe(flag: Any) -> str:
    name = f"--[no]{flag.name}" if flag.boolean else f"--{flag.name}=..."
    shown = "" if flag.default is None else as_text(flag.default)
    default = "" if shown == "" or flag.boolean else f" (default {shown})"
    return textwrap.fill(
        f"{flag.help}{default}",
        width=100,
        break_on_hyphens=False,
        initial_indent=f"  {name:<31} ",
        subsequent_indent=" " * 34,
    )


def _define_common(values: Values) -> None:
    group = Group(values, "This command")
    group.switch("help", False, "Show this.", short_name="h")
    group.switch("traceback", False, "Show where in the program an error arose.")
    group.text("flagfile", "", "Read flags from this file, one a line.")
