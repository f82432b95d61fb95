"""The errors of the commands: their types, their exit statuses, and their messages on one line."""

from __future__ import annotations

import re

from absl import flags

from trainlib.cli.exit_status import BAD_INPUT, FAILED, INTERRUPTED, STOPPED, WORKER_LOST
from trainlib.training.paths import printable, shown

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
    """SIGTERM was received: handled like Ctrl-C, but with the exit status `STOPPED`."""


class CommandError(Exception):
    """A failure whose message is complete: it is shown without its type or a traceback hint."""


def status_of(error: BaseException) -> int:
    """Return the exit status for an error."""
    if isinstance(error, (flags.Error, ValueError, TypeError, OSError)) or is_out_of_memory(error):
        return BAD_INPUT
    if isinstance(error, WorkerLostError):
        return WORKER_LOST
    if isinstance(error, InterruptedRunError):
        return error.status
    return interrupted_status(error) if isinstance(error, KeyboardInterrupt) else FAILED


def interrupted_status(error: BaseException | None) -> int:
    """Return the exit status for an interrupt: `STOPPED` if SIGTERM caused it."""
    while error is not None:
        if isinstance(error, Terminated):
            return STOPPED
        error = error.__cause__ or error.__context__
    return INTERRUPTED


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error of Python, NumPy or TensorFlow says that memory is exhausted."""
    return isinstance(error, MemoryError) or type(error).__name__ == "ResourceExhaustedError"


def one_line(error: BaseException) -> str:
    """Return the message of an error on one line; of a very long one, its beginning and its end."""
    if is_out_of_memory(error):
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
