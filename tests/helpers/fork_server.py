"""Commands in processes that are forked from one that has TensorFlow loaded, but not used it.

Such a process starts in a tenth of a second, has its own streams, signals and limits, and ends as
that of a user does.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from helpers.commands import errors_in
from helpers.processes import environment

COMMANDS = ("train", "tune", "compare", "lr_find", "evaluate", "predict", "report", "verify")
"""Commands whose modules the server has imported."""
TIMED_OUT = -1000
"""The status of a process that was killed because it did not end in time."""


class Ended(NamedTuple):
    """A process that has ended.

    Attributes:
        status: its exit status, the negative number of the signal that killed it, or `TIMED_OUT`.
        out: what it printed on stdout.
        err: what it printed on stderr, without the lines that TensorFlow's C++ code prints there.
        seconds: from start to end.
    """

    status: int
    out: str
    err: str
    seconds: float

    @property
    def errors(self) -> str:
        """The warnings and errors on stderr, without the lines on progress."""
        return errors_in(self.err)


class Started:
    """A process that the server has started; `wait` returns how it ended."""

    def __init__(self, server: ForkServer, output: Path, pid: int) -> None:
        self.pid = pid
        self._server, self._output = server, output

    def wait(self) -> Ended:
        """Wait for the end of the process, at most for its time limit."""
        found = self._server.reply()
        out, err = (
            Path(f"{self._output}.{name}").read_text("utf-8", "backslashreplace")
            for name in ("out", "err")
        )
        return Ended(found["status"], out, err, found["seconds"])


class ForkServer:
    """A process with TensorFlow loaded, which forks for each command, one at a time.

    Args:
        output: folder for what the commands print.
    """

    def __init__(self, output: Path) -> None:
        self._output, self._count = output, 0
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment(
                TF_CPP_MIN_LOG_LEVEL="3",
                PYTHONPATH=os.pathsep.join([str(Path(__file__).parents[1]), *sys.path]),
            ),
        )

    def close(self) -> None:
        """End the server."""
        self._process.kill()
        self._process.communicate()

    def reply(self) -> dict[str, Any]:
        """Return the next answer of the server."""
        stdout: Any = self._process.stdout
        return dict(json.loads(stdout.readline()))

    def start(
        self,
        folder: Path,
        name: str,
        *arguments: str,
        limit: float = 60.0,
        code: str = "",
        stdout: Path | None = None,
        **variables: str | None,
    ) -> Started:
        """Start a command in a folder.

        Args:
            folder: its working directory.
            name: the command, one of `COMMANDS`.
            arguments: its arguments, undecodable bytes as surrogates.
            limit: seconds after which it is killed.
            code: Python that it executes first.
            stdout: file to which its standard output goes; default: a file of the server.
            **variables: environment variables that are set; None removes one.
        """
        self._count += 1
        output = self._output / str(self._count)
        job = {
            "folder": str(folder),
            "argv": [name, *arguments],
            "limit": limit,
            "code": code,
            "out": str(stdout or f"{output}.out"),
            "err": f"{output}.err",
            "variables": variables,
        }
        Path(f"{output}.out").touch()
        stdin: Any = self._process.stdin
        stdin.write(json.dumps(job) + "\n")
        stdin.flush()
        return Started(self, output, self.reply()["pid"])

    def run(self, folder: Path, name: str, *arguments: str, **options: Any) -> Ended:
        """Run a command to its end, with the arguments of `start`."""
        return self.start(folder, name, *arguments, **options).wait()


@contextlib.contextmanager
def fork_server(output: Path) -> Iterator[ForkServer]:
    """A server that ends with the block."""
    server = ForkServer(output)
    try:
        yield server
    finally:
        server.close()


def _serve() -> None:
    """Fork for each line of stdin; the answers are the child's pid, and how it ended."""
    import keras  # noqa: F401
    import tensorflow  # noqa: F401

    for command in COMMANDS:
        importlib.import_module(f"trainlib.cli.{command}")
    importlib.import_module("trainlib.experiment.search.tune")
    for line in sys.stdin:
        job = json.loads(line)
        sys.stdout.flush()
        pid = os.fork()
        if not pid:
            _child(job)
        print(json.dumps({"pid": pid}), flush=True)
        print(json.dumps(_waited(pid, job["limit"])), flush=True)


def _waited(pid: int, limit: float) -> dict[str, float]:
    start = time.monotonic()
    pause = 0.002
    while not os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
        if time.monotonic() - start > limit:
            os.killpg(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return {"status": TIMED_OUT, "seconds": limit}
        time.sleep(pause)
        pause = min(0.02, pause * 1.5)
    with contextlib.suppress(OSError):
        os.killpg(pid, signal.SIGKILL)  # what the command has left running
    _, status = os.waitpid(pid, 0)
    return {"status": os.waitstatus_to_exitcode(status), "seconds": time.monotonic() - start}


def _child(job: Mapping[str, Any]) -> None:
    """Run a command in this process and end it, as `python -m trainlib.cli.NAME` would."""
    status = 1
    try:
        os.setsid()
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        for descriptor, path in ((0, os.devnull), (1, job["out"]), (2, job["err"])):
            opened = os.open(path, os.O_RDONLY if not descriptor else flags, 0o600)
            os.dup2(opened, descriptor)
            os.close(opened)
        sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w", buffering=1)  # noqa: SIM115
        sys.__stdout__, sys.__stderr__ = sys.stdout, sys.stderr
        for name, value in job["variables"].items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
        os.chdir(job["folder"])
        sys.argv = job["argv"]
        sys.path.insert(0, job["folder"])
        exec(job["code"], {"__name__": "before"})
        importlib.import_module(f"trainlib.cli.{sys.argv[0]}").main()
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):
                stream.flush()
        os._exit(status)


if __name__ == "__main__":
    _serve()
