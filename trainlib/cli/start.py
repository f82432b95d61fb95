"""SIGINT and SIGTERM while a command is imported: one line instead of a traceback.

The package `trainlib.cli` imports this module before any other. It changes nothing in a process
that does not run one of the commands.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import PurePath
from types import FrameType

from trainlib.cli import exit_status
from trainlib.cli.commands import COMMANDS, MAIN_COMMAND

PACKAGE = "trainlib.cli."


def command_of_process() -> str:
    """Return the name of the command that this process runs, "" if it runs none."""
    original = sys.orig_argv
    modules = [b for a, b in zip(original, original[1:], strict=False) if a == "-m"]
    name = modules[0].removeprefix(PACKAGE) if modules else PurePath(sys.argv[0]).stem
    if name == MAIN_COMMAND:
        name = (sys.argv[1:] or [""])[0]
    return name if name in COMMANDS else ""


def _end(number: int, frame: FrameType | None) -> None:
    """End the process: print one line, and exit with the status of the signal."""
    name = signal.Signals(number).name
    os.write(2, f"{command_of_process()}: {name}: nothing was done yet; run it again\n".encode())
    os._exit(exit_status.OF_SIGNAL[number])


def install_handlers() -> None:
    """Handle SIGINT and SIGTERM by `_end`, unless the process already has other handlers."""
    if command_of_process():
        for number in exit_status.OF_SIGNAL:
            if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
                signal.signal(number, _end)


install_handlers()
