"""A run of several processes: they meet, one of them reports, and none outlives another's loss."""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import tensorflow as tf

from trainlib.cli.distributed.rendezvous import Line, meet
from trainlib.cli.exit_status import (
    CommandError,
    InterruptedRunError,
    WorkerLostError,
    exit_immediately,
    status_of,
)
from trainlib.cli.flag_types import Values, each_flag
from trainlib.cli.run_folder import NOT_RECORDED
from trainlib.core.checks import check_number
from trainlib.training.cluster import cluster

OWN_FLAGS = (*NOT_RECORDED, "data_dir", "strategy", "worker_timeout")
"""The flags that workers may differ in."""
GRACE = 5.0
"""Seconds in which a worker may end by itself, with what it has to say, after another is gone."""
NAMED_WITHIN = 2.0
"""Seconds in which, after a sum over the workers has failed, it is known which one is gone."""
PAUSE = 0.1
STARTS_WITHIN = 60
"""Seconds for the start of TensorFlow's servers, once all workers are ready for it."""
LAST_WORDS = 60.0
"""Seconds for which the first worker, which the others need to the end, waits for their end."""


class WorkerSession(NamedTuple):
    """reports: whether this process prints and writes. starting: goes around the strategy's making.

    It waits until all workers have come so far.
    """

    reports: bool
    starting: Callable[[], contextlib.AbstractContextManager[None]]


@contextlib.contextmanager
def worker_session(values: Values, check: Callable[[], None]) -> Iterator[WorkerSession]:
    """Around the work of one of the workers that TF_CONFIG names.

    The flags are compared first. Those that do not report are silent. Where there is one process
    alone, it does.

    Args:
        values: of the flags of `train`.
        check: is called on the one that reports, before any begins; raises ValueError.

    Raises:
        ValueError: the flags of two workers differ, or TF_CONFIG is not as it should be.
        WorkerLostError: another one did not come in time, or is gone.
    """
    check_number("worker_timeout", values.worker_timeout, above=0)
    workers = cluster() if values.strategy in ("auto", "multi_worker") else None
    if workers is None or len(workers.addresses) == 1:
        check()
        yield WorkerSession(True, contextlib.nullcontext)
        return
    watch = Liveness(meet(workers, _compared(values), values.worker_timeout, check))
    chief = workers.number == 0
    status = 0
    try:
        with contextlib.nullcontext() if chief else _silent(), watch.guarding():
            yield WorkerSession(chief, watch.starting)
    except BaseException as error:
        status = status_of(error)
        raise
    finally:
        watch.close()
        # TensorFlow's own end waits for the other workers: for ever, where one is gone.
        atexit.register(exit_immediately, status)


class Liveness:
    """Notices when another worker is gone.

    Args:
        lines: the connections of `meet`.
    """

    def __init__(self, lines: Mapping[int, Line]) -> None:
        self.lines = lines
        self._lost: str | None = None
        self._noticed = threading.Event()
        self._ready, self._done = ({k: threading.Event() for k in lines} for _ in range(2))
        self._ended = False
        for index in lines:
            self._in_thread(self._listen, index)

    @contextlib.contextmanager
    def starting(self) -> Iterator[None]:
        """Around the start of TensorFlow's servers, once all workers are ready for it.

        While they look for each other no thread of Python runs, so that a loss would not be
        noticed: then an alarm ends the process. They take SIGTERM for themselves.
        """
        if 0 in self.lines:
            self._say({"ready": True})
        for ready in self._ready.values():
            while not ready.wait(PAUSE):
                if self._noticed.is_set():
                    raise WorkerLostError(self._told())
        if 0 not in self.lines:
            self._say({"ready": True})
        signal.alarm(STARTS_WITHIN)
        yield
        signal.alarm(0)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)

    @contextlib.contextmanager
    def guarding(self) -> Iterator[None]:
        """Around the work: another worker's loss ends it within seconds, and is told as such."""
        try:
            yield
        except (ValueError, TypeError, OSError, CommandError, WorkerLostError):
            raise
        except InterruptedRunError:  # on all workers at the same step
            self._leave()
            raise
        except Exception as error:
            if self._noticed.wait(NAMED_WITHIN):
                raise WorkerLostError(self._told()) from error
            if isinstance(error, _unreachable()):
                raise WorkerLostError("another worker cannot be reached any more") from error
            raise
        self._leave()

    def _leave(self) -> None:
        """Tells the others that this one is done; the first waits until all are."""
        self._say({"done": True})
        if 0 not in self.lines:
            for done in self._done.values():
                done.wait(LAST_WORDS / len(self._done))

    def close(self) -> None:
        """Tells the others that this one is gone, unless it has told them that it is done."""
        self._ended = True
        for line in self.lines.values():
            line.close()

    def _say(self, message: Mapping[str, bool]) -> None:
        for line in self.lines.values():
            line.send(message)

    def _listen(self, index: int) -> None:
        """Hears what a worker says, to its end."""
        while isinstance(message := self.lines[index].receive(), dict):
            if "ready" in message:
                self._ready[index].set()
            if "done" in message:
                self._done[index].set()
            if "lost" in message:
                self._lose(message["lost"])
        if not self._done[index].is_set():
            self._lose(index)
        self._done[index].set()

    def _lose(self, index: int) -> None:
        """Tells the other workers, and ends this one if it does not do so itself."""
        if self._ended or self._noticed.is_set():
            return
        self._lost = f"worker {index} is gone"
        self._noticed.set()
        for other, line in self.lines.items():
            if other not in (index, 0):
                line.send({"lost": index})
        self._in_thread(self._end)

    def _end(self) -> None:
        threading.Event().wait(GRACE)
        if not self._ended:
            print(f"train: {self._told()}", file=sys.stderr)
            exit_immediately(status_of(WorkerLostError()))

    def _told(self) -> str:
        return f"{self._lost}: its own output says why; start all workers again"

    @staticmethod
    def _in_thread(function: Callable[..., None], *args: int) -> None:
        threading.Thread(target=function, args=args, daemon=True).start()


def _unreachable() -> tuple[type[Exception], ...]:
    """What TensorFlow raises where it does not reach another worker."""
    errors = tf.errors
    return (
        errors.UnavailableError,
        errors.AbortedError,
        errors.CancelledError,
        errors.DeadlineExceededError,
    )


def _compared(values: Values) -> dict[str, str]:
    """The flags that must be the same on all workers, as they would be written."""
    compared = (flag for flag in each_flag(values) if flag.name not in OWN_FLAGS)
    return {flag.name: flag.serialize() for flag in compared}


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Keeps standard output empty."""
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        yield
