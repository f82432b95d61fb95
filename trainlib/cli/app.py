"""Run a command: parse its flags, answer --help, and print errors as one line."""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import sys
import traceback
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from absl import flags

from trainlib.cli import output
from trainlib.cli.broken_pipe import closable_output, discard_output, replace_closed_streams
from trainlib.cli.config_file import apply_config_file
from trainlib.cli.errors import CommandError, one_line, status_of
from trainlib.cli.exit_status import BAD_INPUT, FAILED, STOPPED
from trainlib.cli.flag_types import Flag, Group, Values
from trainlib.cli.help import (
    HelpTopics,
    help_text,
    short_help_text,
    terminal_width,
    topic_text,
)
from trainlib.cli.process_exit import fail
from trainlib.cli.signals import interrupts
from trainlib.cli.version import version_text
from trainlib.core.checks import nearest
from trainlib.training.keras_settings import check_backend, check_data_format
from trainlib.training.paths import shown

PACKAGE = Path(__file__).parents[1]
"""The folder of the library."""
_WORD = re.compile(r"(?<![\w./='\"-])\w+(?![\w./'\"(-])")


class CommandLine(NamedTuple):
    """A command: its flags, its help texts, and the function that does its work.

    Attributes:
        name: name of the command.
        about: description that --help shows before the flags.
        define: function that defines the command's flags.
        work: function that does the work, called with the values of the flags. It raises
            ValueError, TypeError or OSError for bad input.
        operand: name of the arguments that are not flags, such as "run": `work` gets the list of
            them as its second argument. The list is not empty unless the name is in brackets.
            Default: None, the command takes flags only.
        topics: texts for `--help=TOPIC`. Default: None, there are none.
        common: names of the flags that `--help` shows; `--helpfull` shows all flags. Default: (),
            `--help` shows all flags.
    """

    name: str
    about: str
    define: Callable[[Values], None]
    work: Callable[..., None]
    operand: str | None = None
    topics: HelpTopics | None = None
    common: Sequence[str] = ()


def run(command: CommandLine) -> None:
    """Run a command; an error is printed as one line on stderr.

    The process exits with one of the statuses of `trainlib.cli.exit_status` if an error ends it.
    """
    replace_closed_streams()
    _escape_undecodable()
    values = defined_flags(command.define, command.topics)
    values.set_gnu_getopt(command.operand is not None)  # flags may follow operands
    warnings.showwarning = _warning_printer(command.name, values)
    with contextlib.ExitStack() as resources:
        try:
            with interrupts():
                _run(command, values, resources)
        except (Exception, KeyboardInterrupt) as error:
            _end(command.name, error, values)


def defined_flags(define: Callable[[Values], None], topics: HelpTopics | None = None) -> Values:
    """Return the flags of a command, and those that every command has."""
    values: Values = flags.FlagValues()  # type: ignore[no-untyped-call]
    define(values)
    _define_common(values, topics)
    return values


def _end(name: str, error: BaseException, values: Values) -> NoReturn:
    """End the process after an error, with one line and the status of the error."""
    status = status_of(error)
    if isinstance(error, KeyboardInterrupt):
        message = "SIGTERM: not done; run it again" if status == STOPPED else "interrupted"
        fail(name, message, status)
    if isinstance(error, BrokenPipeError):
        discard_output(sys.stdout)
        sys.exit(FAILED)
    if values.is_parsed() and values.traceback:
        raise error
    if status == BAD_INPUT:
        fail(name, with_dashes(one_line(error), values), status)
    if status != FAILED or isinstance(error, CommandError):
        fail(name, one_line(error), status)
    kind = type(error).__name__
    fail(name, f"{kind}: {one_line(error)} (--traceback shows where it was raised)", FAILED)


def _run(command: CommandLine, values: Values, resources: contextlib.ExitStack) -> None:
    """Parse the flags, and do the work or print the help.

    Args:
        command: the command.
        values: its flags.
        resources: receives the log file, which it closes when the command has ended.
    """
    extra = _parse(command.name, values)
    if values.help or values.helpfull or values.version:
        with closable_output():
            _print_about(command, values)
        sys.exit(0)
    resources.enter_context(output.output_options(values.quiet, values.verbose, values.log_file))
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "0" if values.verbose else "3")
    output.detail(version_text())
    output.detail(shlex.join([command.name, *sys.argv[1:]]))
    check_backend()
    check_data_format()
    operands = [] if command.operand is None else [extra]
    if command.operand is None and extra:
        raise ValueError(f"unexpected argument {extra[0]!r}: flags are given as --name=value")
    if command.operand and not extra and not command.operand.startswith("["):
        raise ValueError(f"give a {command.operand}, or several")
    _work(lambda: command.work(values, *operands))
    sys.stdout.flush()


def _work(work: Callable[[], None]) -> None:
    """Do the work of a command. A call to `sys.exit` in a user's module is an error.

    Raises:
        CommandError: a user's module ended the process.
    """
    try:
        work()
    except SystemExit as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        if Path(place.filename).is_relative_to(PACKAGE):
            raise
        raise CommandError(
            f"sys.exit({error.code!r}) in {shown(place.filename)}, line {place.lineno}, ended the "
            "command; raise an error there, or return a tl.callbacks.Stop from a callback"
        ) from error


def _warning_printer(name: str, values: Values) -> Callable[..., None]:
    """Return a `warnings.showwarning` that prints the warnings of the library in one line each."""
    show_others = warnings.showwarning

    def show(message: Any, category: Any, filename: str, *place: Any) -> None:
        if Path(filename).is_relative_to(PACKAGE):
            note(name)(f"warning: {with_dashes(one_line(message), values)}")
        else:
            show_others(message, category, filename, *place)

    return show


def _parse(name: str, values: Values) -> list[str]:
    """Set the flags from the command line, and return the other arguments.

    Raises:
        ValueError: an unknown flag; the message suggests the nearest one.
        flags.Error: a value that its flag does not take.
    """
    printed = io.StringIO()  # absl prints, but does not raise, that a flag file includes itself
    try:
        with contextlib.redirect_stderr(printed):
            extra = list(values(sys.argv)[1:])
        if printed.getvalue():
            raise ValueError(f"flag --flagfile: {printed.getvalue()}")
        if values.config:
            apply_config_file(values, Path(values.config))
        return extra
    except flags.UnrecognizedFlagError as error:
        near = nearest(error.flagname, values)
        hint = f"; {name} --help lists the flags" if near is None else f": did you mean --{near}?"
        raise ValueError(f"unknown flag --{error.flagname}{hint}") from error
    except flags.CantOpenFlagFileError as error:
        cause = error.__context__
        reason = one_line(cause) if isinstance(cause, OSError) else one_line(error)
        raise ValueError(f"flag --flagfile: {reason}") from error


def with_dashes(message: str, values: Values) -> str:
    """Return the message of a library error with dashes before the names of flags.

    The library writes "epochs must be at least 1". A word counts as a flag if it is the name of one
    and either begins the message or contains an underscore.
    """

    def replaced(match: re.Match[str]) -> str:
        word = match[0]
        is_flag = word in values and (match.start() == 0 or "_" in word)
        return f"--{word}" if is_flag else word

    return _WORD.sub(replaced, message)


def _escape_undecodable() -> None:
    """Print characters that the terminal's encoding lacks as escape sequences."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            with contextlib.suppress(OSError):  # its descriptor is closed
                stream.reconfigure(errors="backslashreplace")


def note(name: str) -> Callable[[str], None]:
    """Return a function that prints a line on stderr, after the name of the command."""
    return lambda line: output.warn(f"{name}: {line}")


def required_path(values: Values, name: str) -> Path:
    """Return the value of a required flag that holds a path."""
    if not values[name].value:
        raise ValueError(f"--{name} must be given, as in --{name}=PATH")
    return Path(str(values[name].value))


def _print_about(command: CommandLine, values: Values) -> None:
    """Print the version, a help topic, the short help or the full help."""
    width = terminal_width()
    if isinstance(values.help, str):
        print(topic_text(values.help, values, command.topics, width))
    elif values.version:
        print(version_text())
    elif values.helpfull or not command.common:
        print(help_text(command.about, values, command.topics, width))
    else:
        print(short_help_text(command.name, command.about, values, command.common, width))


def _define_common(values: Values, topics: HelpTopics | None) -> None:
    """Define the flags that every command has."""
    group = Group(values, "This command")
    text = "Show this text." if topics is None else "Show this text; --help=NAME shows one topic."
    help_flag = Flag(_HelpTopic(), None, "help", None, text, short_name="h", boolean=True)
    flags.DEFINE_flag(help_flag, values, module_name=group.title)
    group.boolean("helpfull", None, "Show the help with all flags.")
    group.boolean("version", None, "Show the versions of trainlib, Python and TensorFlow.")
    group.boolean("quiet", False, "Print results, warnings and errors only.")
    group.boolean("verbose", False, "Print settings, versions and TensorFlow's messages too.")
    group.path("log_file", None, "Append all messages, with their time, to this file.")
    group.boolean("traceback", None, "Show where in the program an error was raised.")
    group.path("flagfile", "", "Read flags from this file, one per line.")
    group.path(
        "config",
        None,
        "Read flags from this .yaml, .toml or .json file; those of the command line take "
        "precedence.",
    )


class _HelpTopic(flags.ArgumentParser[Any]):
    """`--help` is true, `--help=TOPIC` the topic."""

    def parse(self, argument: str | bool) -> str | bool:
        return {"true": True, "false": False, "": True}.get(str(argument).lower(), argument)
