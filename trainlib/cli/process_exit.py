"""End the process: after one line on stderr, or immediately."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import NoReturn

from trainlib.cli import output


def fail(name: str, message: str, status: int) -> NoReturn:
    """Exit with a status after one line on stderr.

    Args:
        name: name of the command, with which the line begins.
        message: the rest of the line.
        status: exit status, one of `trainlib.cli.exit_status`.
    """
    output.warn(f"{name}: {message}")
    sys.exit(status)


def exit_immediately(status: int) -> NoReturn:
    """End the process without waiting for threads or exit handlers."""
    for stream in (sys.stdout, sys.stderr):
        # RuntimeError: a signal has interrupted the stream while it was written to.
        with contextlib.suppress(OSError, ValueError, RuntimeError):
            stream.flush()
    os._exit(status)
