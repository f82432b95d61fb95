"""Jobs in several processes: a function is called on many arguments, in any order of completion.

If a process dies, only its job fails, and a new process takes the next job; a pool of the standard
library or of joblib would fail with all jobs and not name the one that died. Processes do not
import the main module, so that scripts need no `if __name__ == "__main__"`.
"""

from __future__ import annotations

import contextlib
import functools
import os
import pickle
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from multiprocessing import Pipe, connection
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

import trainlib
from trainlib.core.checks import check_integer
from trainlib.experiment import job_process

Argument = TypeVar("Argument")
State = TypeVar("State")
Value = TypeVar("Value")
END_SECONDS = 5.0
"""Seconds for a process to end before it is killed."""
LONGEST_OUTPUT = 2000
"""Number of bytes of the last output of a dead process that are reported."""


class Failure(NamedTuple):
    """Failure of a job: an exception, or the death of its process.

    Attributes:
        type: name of the exception's class, or "ProcessDied".
        message: the message, on one line.
        traceback: traceback of the exception, or the last output of the process.
    """

    type: str
    message: str
    traceback: str

    def __str__(self) -> str:
        return f"{self.type}: {self.message}" if self.message else self.type


@dataclass(frozen=True)
class JobResult(Generic[Value]):  # Python 3.10 has no generic NamedTuple
    """Result of one job.

    Attributes:
        position: position of its argument, from 0.
        value: value of the function; None after a failure.
        failure: the failure; None if the job succeeded.
    """

    position: int
    value: Value | None
    failure: Failure | None


def run_jobs(
    function: Callable[[State, Argument], Value],
    make_state: Callable[[], State],
    arguments: Iterable[Argument],
    jobs: int = 1,
) -> Iterator[JobResult[Value]]:
    """Call a function on each argument, and yield the results in the order of completion.

    An argument is taken when a process is free and earlier results have been yielded, so that a
    generator of arguments can use these results. If the iterator is closed, or the caller is
    interrupted or killed, the processes end. Output of jobs in other processes is discarded.

    Args:
        function: function `(state, argument) -> value`. For several processes it must be defined at
            the top level of a module, and arguments and values must be picklable.
        make_state: function that makes the state that the jobs of a process share, such as
            `TrainerPool`.
        arguments: arguments of the jobs.
        jobs: number of processes; they share the processor's cores. Default: 1, this process.

    Returns:
        An iterator over `JobResult`s, one for each argument. A job fails if it raises an exception
        other than `KeyboardInterrupt`, or if its process dies, which is then replaced.

    Raises:
        ValueError, TypeError: `jobs` is not a positive integer.

    Example:
        >>> from trainlib.experiment.jobs import run_jobs
        >>> def divide(cache, x):
        ...     return 6 // x
        >>> for result in run_jobs(divide, dict, [2, 0]):
        ...     print(result.position, result.value, result.failure)
        0 3 None
        1 None ZeroDivisionError: integer division or modulo by zero
    """
    check_integer("jobs", jobs, at_least=1)
    if jobs == 1:
        return _in_this_process(function, make_state, arguments)
    return _in_processes(pickle.dumps((function, make_state)), arguments, jobs)


def share_of_cores(jobs: int) -> int:
    """Return the number of cores for each of several processes, at least 1."""
    has_affinity = hasattr(os, "sched_getaffinity")  # not on every system
    cores = len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count() or 1
    return max(1, cores // jobs)


def _in_this_process(
    function: Callable[[State, Argument], Value],
    make_state: Callable[[], State],
    arguments: Iterable[Argument],
) -> Iterator[JobResult[Value]]:
    state = make_state()
    for position, argument in enumerate(arguments):
        yield _result(position, *job_process.attempt(functools.partial(function, state, argument)))


def _result(position: int, value: Any, error: tuple[str, str, str] | None) -> JobResult[Any]:
    return JobResult(position, value, None if error is None else Failure(*error))


def _in_processes(
    functions: bytes, arguments: Iterable[Argument], jobs: int
) -> Iterator[JobResult[Any]]:
    waiting = enumerate(arguments)
    processes: list[_Process] = []
    try:
        while True:
            free = [process for process in processes if process.position is None]
            while len(processes) - len(free) < jobs and (job := next(waiting, None)) is not None:
                if not free:
                    processes.append(_Process(functions, share_of_cores(jobs)))
                    free = processes[-1:]
                free.pop().start(*job)
            busy: dict[Any, _Process] = {
                process.connection: process for process in processes if process.position is not None
            }
            if not busy:
                return
            for ready in connection.wait(list(busy)):
                process = busy[ready]
                result = process.receive()
                if process.connection.closed:
                    processes.remove(process)
                yield result
    finally:
        for process in processes:
            process.connection.close()
        for process in processes:
            process.end()


class _Process:
    """A separate process that runs one job at a time.

    It ends when the connection is closed, which also happens when this process ends.

    Args:
        functions: the function and `make_state`, pickled.
        cores: number of cores that it uses.

    Attributes:
        connection: readable when the job has ended; closed once the process has died.
        position: position of the current job; None while the process is idle.
    """

    def __init__(self, functions: bytes, cores: int) -> None:
        self.connection, theirs = Pipe()
        self.position: int | None = None
        self._output = tempfile.TemporaryFile()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, job_process.__file__, str(theirs.fileno())],
                env=_environment(cores),
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=self._output,
                stderr=self._output,
                start_new_session=True,  # Ctrl-C reaches this process only
            )
        self._send(functions)

    def start(self, position: int, argument: Any) -> None:
        """Start a job."""
        self._send(pickle.dumps(argument))
        self.position = position

    def _send(self, message: bytes) -> None:
        with contextlib.suppress(OSError):  # the process is dead: `receive` reports it
            self.connection.send_bytes(message)

    def receive(self) -> JobResult[Any]:
        """Return the result of the job, which has ended."""
        assert self.position is not None
        position, self.position = self.position, None
        try:
            answer = self.connection.recv_bytes()
        except (EOFError, OSError):
            return JobResult(position, None, self._death())
        return _result(position, *pickle.loads(answer))

    def _death(self) -> Failure:
        """Return why the process died."""
        size = self._output.seek(0, os.SEEK_END)
        self._output.seek(max(0, size - LONGEST_OUTPUT))
        printed = self._output.read().decode(errors="replace")
        status = self.end()
        reason = f"ended with status {status}"
        if status < 0:
            reason = f"was killed by {signal.Signals(-status).name}"
        if status == -signal.SIGKILL:
            reason += ", as a system does that is out of memory"
        return Failure("ProcessDied", f"the process of the job {reason}", printed)

    def end(self) -> int:
        """End the process, and return its exit status."""
        self.connection.close()
        self._output.close()
        try:
            return self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()


def _environment(cores: int) -> dict[str, str]:
    """Return the environment variables of a process: number of threads, folders of modules."""
    threads = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS")
    package = str(Path(trainlib.__file__).parents[1])
    return {
        **dict.fromkeys(threads, str(cores)),
        "TF_FORCE_GPU_ALLOW_GROWTH": "true",  # the processes share the memory of a GPU
        **os.environ,
        "PYTHONPATH": os.pathsep.join([package, *filter(None, sys.path)]),
        "PYTHONSAFEPATH": "1",  # no module of the working directory replaces one of Python
    }
