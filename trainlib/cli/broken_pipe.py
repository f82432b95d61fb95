"""Output that is closed: `train ... | head -1`, `train >&-`."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any, TextIO

from absl import flags


def ignore_broken_pipe(
    work: Callable[[flags.FlagValues], None],
) -> Callable[[flags.FlagValues], None]:
    """Return a version of `work` that continues when stdout or stderr is closed.

    It is for commands whose results are files: `train ... | head -1` writes the same run folder as
    `train ...`.
    """

    def continue_without_output(values: flags.FlagValues) -> None:
        with closable_output():
            work(values)

    return continue_without_output


@contextlib.contextmanager
def closable_output() -> Iterator[None]:
    """Discard what is printed on stdout or stderr once it is closed, instead of raising."""
    out: Any = _ClosableStream(sys.stdout)
    err: Any = _ClosableStream(sys.stderr)
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        yield
        out.flush()
        err.flush()


def replace_closed_streams() -> None:
    """Replace stdout and stderr by the null device if the shell has closed them."""
    for stream in ("stdout", "stderr"):
        if getattr(sys, stream) is None:
            setattr(sys, stream, open(os.devnull, "w"))


def discard_output(stream: TextIO) -> None:
    """Redirect the file descriptor of a stream to the null device."""
    null_device = os.open(os.devnull, os.O_WRONLY)
    if null_device != stream.fileno():  # which it is where the descriptor was closed
        os.dup2(null_device, stream.fileno())
        os.close(null_device)


class _ClosableStream:
    """Text stream that discards its output, instead of raising, once it cannot be written to."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def write(self, text: str) -> int:
        try:
            return self.stream.write(text)
        except OSError:
            discard_output(self.stream)
            return len(text)

    def flush(self) -> None:
        try:
            self.stream.flush()
        except OSError:
            discard_output(self.stream)
