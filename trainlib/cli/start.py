"""Signals while a command is imported: one line instead of a traceback.

The package `cli` imports this module first. It does nothing in a process that is not one of the
commands.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import PurePath
from types import FrameType

from trainlib.cli.commands import COMMANDS

PACKAGE = "trainlib.cli."
TOGETHER = "trainlib"
"""The command whose first argument names another."""
_STATUS = {signal.SIGINT: 130, signal.SIGTERM: 75}


def command_of_process() -> str:
    """Return the command that this process was started as, "" if it is none."""
    original = sys.orig_argv
    modules = [b for a, b in zip(original, original[1:], strict=False) if a == "-m"]
    name = modules[0].removeprefix(PACKAGE) if modules else PurePath(sys.argv[0]).stem
    if name == TOGETHER:
        name = (sys.argv[1:] or [""])[0]
    return name if name in COMMANDS else ""


def _end(number: int, frame: FrameType | None) -> None:
    name = signal.Signals(number).name
    os.write(2, f"{command_of_process()}: {name}: nothing was done yet; run it again\n".encode())
    os._exit(_STATUS[signal.Signals(number)])


def end_in_one_line() -> None:
    """Let SIGINT and SIGTERM end a command with a line while its modules are imported."""
    if command_of_process():
        for number in _STATUS:
            if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
                signal.signal(number, _end)


end_in_one_line()
