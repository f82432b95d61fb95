"""Commands run inside the test process, and a toy command for what all commands share."""

from __future__ import annotations

import contextlib
import importlib
import io
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from trainlib.cli import app
from trainlib.cli.commands import COMMANDS
from trainlib.cli.flag_types import Group, Values
from trainlib.cli.help import HelpTopics

_BY_COMMAND = re.compile(rf"(toy|trainlib|{'|'.join(COMMANDS)}): ")


class Result(NamedTuple):
    """Exit status of a command, and what it printed on stdout and stderr."""

    status: int
    out: str
    err: str

    @property
    def errors(self) -> str:
        """The warnings and errors on stderr, without the lines on progress."""
        return errors_in(self.err)


def errors_in(text: str) -> str:
    """Return the lines that begin with the name of a command, and all from a traceback on."""
    progress, traceback, rest = text.partition("Traceback ")
    lines = progress.splitlines(keepends=True)
    return "".join(x for x in lines if _BY_COMMAND.match(x)) + traceback + rest


def call(main: Callable[[], None], folder: Path, name: str, *arguments: str) -> Result:
    """Call the `main` of a command in a folder."""
    out, err, status = io.StringIO(), io.StringIO(), 0
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        patch.chdir(folder)
        patch.setattr(sys, "argv", [name, *arguments])
        patch.setenv("TF_CPP_MIN_LOG_LEVEL", "3")
        try:
            main()
        except SystemExit as ended:
            status = int(ended.code or 0)
    return Result(status, out.getvalue(), err.getvalue())


def run_command(folder: Path, name: str, *arguments: str) -> Result:
    """Run a command of trainlib in a folder."""
    return call(importlib.import_module(f"trainlib.cli.{name}").main, folder, name, *arguments)


TOY_ABOUT = "\ntoy: play.\n\n  toy --count=2\n"
"""Description of the toy command."""


def define_toy(values: Values) -> None:
    """Define the flags of the toy command: one or more of each type."""
    group = Group(values, "Toy")
    group.string("name", None, "Whom to greet.", "NAME")
    group.string("greeting", "hello", "The word; " + "very " * 40 + "long.")
    group.integer("count", 1, "How often.")
    group.number("rate", 0.5, "How fast.")
    group.boolean("loud", None, "Shout.")
    group.integers("sizes", None, "How large.")
    group = Group(values, "Other")
    group.choice("mood", "good", ["good", "bad"], "The mood.")
    group.numbers("weights", [0.5, 2.0], "How heavy.")
    group.strings("words", [], "What to say.")
    group.number_or("auto", "speed", None, "How fast to go.")
    Group(values, "Rare", hidden=True).integer("depth", None, "How deep.")


TOY_TOPICS = HelpTopics(
    "`toy --help=deep` explains the depth.",
    {"deep": lambda values, width: f"depth at {width}: {values['depth'].help}"},
    {"water": ["deep", "wide"], "air": ["high"]},
)


def toy_main(work: Callable[..., Any] = lambda values: None, **options: Any) -> Callable[[], None]:
    """Return the `main` of the toy command, whose work is `work(values)`."""
    return lambda: app.run(app.CommandLine("toy", TOY_ABOUT, define_toy, work, **options))


def raising(error: BaseException) -> Callable[..., None]:
    """Return the work of a command that an error ends."""

    def work(values: Values) -> None:
        raise error

    return work
