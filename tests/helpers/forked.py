"""Python in processes that are forked from one that has TensorFlow loaded, but has not used it.

Such a process starts in a tenth of a second instead of several seconds, has its own streams,
signals and environment, and ends as one that `subprocess` started. Tests of what is imported, or
of what an import prints, start their processes with `subprocess` instead.
"""

from __future__ import annotations

import functools
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Thread
from typing import Any, TextIO

import pytest

LOADED = ["tensorflow", "keras", "trainlib.api"]
"""What the process that forks has imported."""

_CONTEXT = multiprocessing.get_context("forkserver")


class ForkedPython:
    """`python ARGUMENTS`, with the interface of `subprocess.Popen` as far as tests need it.

    Args:
        arguments: of the interpreter: `-m MODULE ...`, `-c CODE ...` or `FILE ...`.
        cwd: the working directory.
        variables: all environment variables.

    Attributes:
        pid: the number of the process.
        stdout: what it prints there, as a text file; `stderr` likewise.
    """

    def __init__(
        self,
        arguments: Sequence[str | os.PathLike[str]],
        cwd: str | os.PathLike[str] | None,
        variables: Mapping[str, str],
    ) -> None:
        _start_server()
        self._arguments = [os.fspath(argument) for argument in arguments]
        (out, to_out), (err, to_err) = _CONTEXT.Pipe(False), _CONTEXT.Pipe(False)
        job = (self._arguments, os.fspath(cwd or os.getcwd()), dict(variables), to_out, to_err)
        self._process = _CONTEXT.Process(target=_run, args=job)
        self._process.start()
        to_out.close()
        to_err.close()
        self.stdout, self.stderr = _text(out), _text(err)
        self.pid = self._process.pid or 0

    def __enter__(self) -> ForkedPython:
        return self

    def __exit__(self, *_: object) -> None:
        self.stdout.close()
        self.stderr.close()
        self.wait()

    @property
    def returncode(self) -> int | None:
        """The exit status, the negative number of the signal that ended it, or None."""
        return self._process.exitcode

    def poll(self) -> int | None:
        """Return the exit status if the process has ended."""
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end, and return the exit status."""
        self._process.join(timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired(self._arguments, timeout or 0.0)
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal to the process, if it has not ended."""
        if self.returncode is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Send SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Wait for the end, and return what is printed on stdout and stderr until then."""
        printed = {"stdout": "", "stderr": ""}

        def read(name: str, stream: TextIO) -> None:
            printed[name] = stream.read()

        readers = [Thread(target=read, args=(x, getattr(self, x)), daemon=True) for x in printed]
        for reader in readers:
            reader.start()
        self.wait(timeout)
        for reader in readers:
            reader.join()
        self.stdout.close()
        self.stderr.close()
        return printed["stdout"], printed["stderr"]


@functools.cache
def _start_server() -> None:
    """Start the process that forks; it sees no variable of TensorFlow."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("TF_")]:
            patch.delenv(name)
        patch.setenv("TF_CPP_MIN_LOG_LEVEL", "3")
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))
        forkserver.set_forkserver_preload(LOADED)
        forkserver.ensure_running()


def _text(connection: Connection) -> TextIO:
    """Return the end of a pipe as a text file."""
    descriptor = os.dup(connection.fileno())
    connection.close()
    return os.fdopen(descriptor, errors="backslashreplace")


def _run(
    arguments: list[str], cwd: str, variables: dict[str, str], out: Connection, err: Connection
) -> None:
    """Do what the interpreter does with its arguments."""
    for connection, descriptor in ((out, 1), (err, 2)):
        os.dup2(connection.fileno(), descriptor)
        connection.close()
    sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w", errors="backslashreplace")
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(variables)
    sys.path[:0] = variables.get("PYTHONPATH", "").split(os.pathsep)
    kind, *rest = arguments
    if kind == "-m":
        sys.argv = rest
        sys.path.insert(0, cwd)
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    elif kind == "-c":
        sys.argv = ["-c", *rest[1:]]
        sys.path.insert(0, "")
        names: dict[str, Any] = {"__name__": "__main__"}
        exec(compile(rest[0], "<string>", "exec"), names)
    else:
        sys.argv = arguments
        sys.path.insert(0, str(Path(kind).parent))
        runpy.run_path(kind, run_name="__main__")
