"""PyTorch and Optax in separate processes.

Their compilers cannot share a process with TensorFlow's in every version and order of imports: two
copies of LLVM end the process without an exception. Keras runs on the same TensorFlow as trainlib,
in the same process.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import pickle
import subprocess
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import trainlib
from trainlib.training.processes import python_module
from trainlib.verify.case import FunctionCase, OptimizerCase
from trainlib.verify.compare import THIS_PROCESS, PeerEndedError
from trainlib.verify.function_cases import CASES as FUNCTION_CASES
from trainlib.verify.optimizer_cases import CASES as OPTIMIZER_CASES
from trainlib.verify.problem import Arrays, Problem

SEPARATE = ("torch", "optax")
"""Peers that run in separate processes."""


class PeerProcesses:
    """Runner of peers for `compare_optimizer` and `compare_function`, with a process for each.

    A process is started when its peer is first needed, and again if it has ended. As a context
    manager it ends them.

    Args:
        module: module that calls `serve` with its first argument, as `python -m module torch`.
    """

    def __init__(self, module: str) -> None:
        self._module = module
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> PeerProcesses:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for process in self._processes.values():
            _end(process)

    def missing(self, peer: str, needs: str) -> str:
        """Return why a peer cannot be run here; "" if it can."""
        reason = THIS_PROCESS.missing(peer, needs if peer not in SEPARATE else "")
        if reason or peer not in SEPARATE:
            return reason
        try:
            return str(self._request(peer, "missing", needs))
        except PeerEndedError as error:
            return str(error)

    def path(self, case: OptimizerCase, peer: str, problem: Problem) -> list[Arrays]:
        """Return the trajectory of a peer."""
        index = _index(case, OPTIMIZER_CASES)
        if peer not in SEPARATE or index is None:
            return THIS_PROCESS.path(case, peer, problem)
        found: list[Arrays] = self._request(peer, "path", index, problem)
        return found

    def outputs(self, case: FunctionCase, peer: str, dtype: str) -> Arrays:
        """Return the outputs of a peer on the inputs of the case."""
        index = _index(case, FUNCTION_CASES)
        if peer not in SEPARATE or index is None:
            return THIS_PROCESS.outputs(case, peer, dtype)
        found: Arrays = self._request(peer, "outputs", index, dtype)
        return found

    def _request(self, peer: str, name: str, *arguments: Any) -> Any:
        """Return the answer of a peer's process.

        Raises:
            PeerEndedError: the process ended without one.
            RuntimeError: the peer raised an exception.
        """
        process = self._processes.get(peer)
        if process is None:
            process = self._processes[peer] = _start(self._module, peer)
        assert process.stdin is not None and process.stdout is not None
        try:
            pickle.dump((name, arguments), process.stdin)
            process.stdin.flush()
            error, answer = pickle.load(process.stdout)
        except (EOFError, OSError):
            _end(self._processes.pop(peer))
            reason = f"the process of {peer} ended with status {process.returncode}"
            raise PeerEndedError(reason) from None
        if error:
            raise RuntimeError(f"{peer} in a separate process: {error}")
        return answer


def serve(peer: str) -> None:
    """Answer the requests of `PeerProcesses` that standard input holds, until it ends.

    The peer is imported first, and prints to standard error.
    """
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    for module in ("jax", "optax") if peer == "optax" else (peer,):
        importlib.import_module(module)
    while True:
        try:
            name, arguments = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        try:
            answer = "", _answer(peer, name, *arguments)
        except Exception:
            answer = traceback.format_exc(), None
        pickle.dump(answer, answers)
        answers.flush()


def _answer(peer: str, name: str, first: Any, *rest: Any) -> Any:
    """Return the answer to a request."""
    if name == "missing":
        return THIS_PROCESS.missing(peer, first)
    if name == "path":
        return THIS_PROCESS.path(OPTIMIZER_CASES[first], peer, *rest)
    return THIS_PROCESS.outputs(FUNCTION_CASES[first], peer, *rest)


def _start(module: str, peer: str) -> subprocess.Popen[bytes]:
    """Start the process of a peer, which finds this trainlib."""
    package = str(Path(trainlib.__file__).parents[1])
    paths = [package, *filter(None, [os.environ.get("PYTHONPATH")])]
    return subprocess.Popen(
        python_module(module, peer),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
    )


def _end(process: subprocess.Popen[bytes]) -> None:
    """Let a process end, which it does at the end of its input."""
    for stream in (process.stdin, process.stdout):
        with contextlib.suppress(OSError):
            assert stream is not None
            stream.close()
    process.wait()


def _index(case: Any, cases: Sequence[Any]) -> int | None:
    """Return the position of a case; None if it is another one."""
    return next((i for i, known in enumerate(cases) if known is case), None)
