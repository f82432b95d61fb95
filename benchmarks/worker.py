"""A process that holds one object and calls its methods on request, one line per call.

    python benchmarks/worker.py MODULE:CLASS ARGUMENTS       # the class's arguments, as JSON

Requests are read from stdin as `{"call": method, "with": {...}}`; answers are written to stdout as
`{"ok": ...}` or `{"error": ..., "missing": whether a package is not installed}`. `Worker` is the
client.
"""

from __future__ import annotations

import importlib
import json
import os
import selectors
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

HERE = Path(__file__).parent
TIMEOUT = 900
"""Seconds after which a call fails."""


class WorkerError(RuntimeError):
    """A call failed in the worker, or the process ended."""


class Missing(WorkerError):
    """A package that the worker needs is not installed."""


class Worker:
    """Client of the process: starts it, calls methods of its object, ends it."""

    def __init__(self, target: str, log: Path, **arguments: Any) -> None:
        self._log = log
        with open(log, "w") as errors:
            self._process = subprocess.Popen(
                [sys.executable, str(HERE / "worker.py"), target, json.dumps(arguments)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env={"TF_CPP_MIN_LOG_LEVEL": "3", **os.environ, "KERAS_BACKEND": "tensorflow"},
            )
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._process.stdout, selectors.EVENT_READ)  # type: ignore[arg-type]
        self._answer()

    def call(self, method: str, **arguments: Any) -> Any:
        """Return what a method of the object in the process returns."""
        request = json.dumps({"call": method, "with": arguments}) + "\n"
        try:
            self._process.stdin.write(request.encode())  # type: ignore[union-attr]
            self._process.stdin.flush()  # type: ignore[union-attr]
        except BrokenPipeError:
            raise self._death() from None
        return self._answer()

    def close(self) -> None:
        """End the process."""
        self._selector.close()
        self._process.kill()
        self._process.communicate()

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: Any, trace: TracebackType | None
    ) -> None:
        self.close()

    def _answer(self) -> Any:
        if not self._selector.select(TIMEOUT):
            self.close()
            raise WorkerError(f"no answer in {TIMEOUT} seconds")
        line = self._process.stdout.readline()  # type: ignore[union-attr]
        if not line:
            raise self._death()
        answer = json.loads(line)
        if "error" in answer:
            self.close()
            raise (Missing if answer["missing"] else WorkerError)(answer["error"])
        return answer["ok"]

    def _death(self) -> WorkerError:
        """Return the error of a process that ended by itself: its status and last line."""
        status = self._process.wait()
        self.close()
        lines = self._log.read_text(errors="replace").strip().splitlines() or ["it printed nothing"]
        return WorkerError(f"the process ended with status {status}: {lines[-1]}")


def peak_memory() -> float | None:
    """Return the peak memory of this process in MiB; None if the system has no /proc."""
    status = Path("/proc/self/status")
    if not status.is_file():
        return None
    peak = next(row for row in status.read_text().splitlines() if row.startswith("VmHWM:"))
    return int(peak.split()[1]) / 1024


def main() -> None:
    """Make the object and answer requests until stdin ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # keeps what libraries print out of the answers
    target, arguments = sys.argv[1:]
    module, name = target.split(":")
    made: list[Any] = []

    def make() -> None:
        made.append(getattr(importlib.import_module(module), name)(**json.loads(arguments)))

    _reply(answers, make)
    for line in sys.stdin:
        request = json.loads(line)
        if request["call"] == "peak_memory":
            _reply(answers, peak_memory)
        else:
            _reply(answers, getattr(made[0], request["call"]), **request["with"])


def _reply(answers: TextIO, function: Any, **arguments: Any) -> None:
    try:
        answer = {"ok": function(**arguments)}
    except Exception as error:  # of any kind: the client decides
        text = f"{type(error).__name__}: {' '.join(str(error).split())[:500]}"
        answer = {"error": text, "missing": isinstance(error, ImportError)}
    print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
