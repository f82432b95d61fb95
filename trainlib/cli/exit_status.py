"""Exit statuses of the commands, their errors, and the end of a process."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from typing import NoReturn

from absl import flags

from trainlib.cli import output
from trainlib.training.paths import printable, shown

FAILED = 1
"""Any error that no other status covers."""
BAD_INPUT = 2
"""A flag, an argument or a file that is not valid."""
WORKER_LOST = 3
"""Another worker of a multi-worker run did not connect, or ended early."""
SAVED = 75
"""The run was stopped by SIGTERM or by --stop_after: resume it, or run it again."""
INTERRUPTED = 130
"""Interrupted by Ctrl-C."""
_SHAPE = re.compile(r"shape\s?[\[(]([\d, ]+)[\])] and (?:data )?type (\w+)")
LONGEST = 2000
"""Characters of the longest message; the cause of an error is often at its end."""


class WorkerLostError(Exception):
    """Another worker of this run did not connect in time, or ended before the run did."""


class InterruptedRunError(Exception):
    """A run that was stopped from outside and can be resumed.

    Args:
        message: one line.
        status: the exit status of the command.
    """

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class Terminated(KeyboardInterrupt):  # noqa: N818
    """SIGTERM: it ends work as Ctrl-C does, with the status `SAVED`."""


class CommandError(Exception):
    """A failure whose message is complete: it is shown without its type or a traceback hint."""


def status_of(error: BaseException) -> int:
    """Return the exit status for an error."""
    if isinstance(error, (flags.Error, ValueError, TypeError, OSError)) or wants_memory(error):
        return BAD_INPUT
    if isinstance(error, WorkerLostError):
        return WORKER_LOST
    if isinstance(error, InterruptedRunError):
        return error.status
    return interrupted_status(error) if isinstance(error, KeyboardInterrupt) else FAILED


def interrupted_status(error: BaseException | None) -> int:
    """Return the exit status for an interrupt: `SAVED` if it, or what caused it, was SIGTERM."""
    while error is not None:
        if isinstance(error, Terminated):
            return SAVED
        error = error.__cause__ or error.__context__
    return INTERRUPTED


def wants_memory(error: BaseException) -> bool:
    """Return whether an error says that there is not enough memory."""
    return isinstance(error, MemoryError) or type(error).__name__ == "ResourceExhaustedError"


def one_line(error: BaseException) -> str:
    """Return the message of an error on one line; of a very long one, its beginning and its end."""
    if wants_memory(error):
        found = _SHAPE.search(str(error))
        of = f" for {found[2]} of shape [{found[1]}]" if found else ""
        return f"not enough memory{of}: make the model, the batch or the data smaller"
    if isinstance(error, OSError) and error.strerror:
        path = f"{shown(error.filename)}: " if isinstance(error.filename, str) else ""
        return f"{path}{error.strerror}"
    text = printable(" ".join(str(error).split())).removeprefix("ERROR:: ")
    if len(text) > LONGEST:
        text = f"{text[: LONGEST // 2]} ... {text[-LONGEST // 2 :]}"
    return text or type(error).__name__


def fail(name: str, message: str, status: int) -> NoReturn:
    """Exit with a status after one line on stderr, which begins with the command's name."""
    output.warn(f"{name}: {message}")
    sys.exit(status)


def exit_immediately(status: int) -> NoReturn:
    """End the process without waiting for threads or exit handlers."""
    for stream in (sys.stdout, sys.stderr):
        # RuntimeError: a signal has interrupted the stream while it was written to.
        with contextlib.suppress(OSError, ValueError, RuntimeError):
            stream.flush()
    os._exit(status)
