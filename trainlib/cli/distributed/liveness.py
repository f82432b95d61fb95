"""Liveness of the workers: when one is lost, the others print one line and exit within seconds."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping

import tensorflow as tf

from trainlib.cli.distributed.connection import Connection
from trainlib.cli.distributed.watchdog import watchdog
from trainlib.cli.errors import CommandError, InterruptedRunError, WorkerLostError, one_line
from trainlib.cli.exit_status import WORKER_LOST
from trainlib.cli.process_exit import exit_immediately
from trainlib.training.paths import printable

GRACE_SECONDS = 5.0
"""Seconds in which a worker may exit by itself, with a better message, after another is lost."""
NAMING_SECONDS = 2.0
"""Seconds to wait for the name of the lost worker after a collective operation has failed."""
START_SECONDS = 60
"""Seconds for TensorFlow's servers to start, once all workers are ready."""
FAREWELL_SECONDS = 60.0
"""Seconds that a worker waits at the end for the others, which may still need its server."""
_NOT_STARTED = (
    f"train: TensorFlow's servers have not found each other within {START_SECONDS} s: another "
    "worker has ended, or another process has taken the port of one; see the output of all workers"
)
POLL_SECONDS = 0.1
ALIVE_SECONDS = 5.0
"""Seconds between two messages by which a worker shows that it is alive."""
SILENCE_SECONDS = START_SECONDS + 15.0
"""Seconds without a message after which a worker counts as lost: its process is suspended or its
machine is down. More than START_SECONDS, during which no worker sends a message."""


class Liveness:
    """Watches the connections to other workers and ends this one when another is lost.

    Args:
        connections: open connections by worker, those of `rendezvous`.
    """

    def __init__(self, connections: Mapping[int, Connection]) -> None:
        self.connections = connections
        self._lost_worker: int | None = None
        self._loss_noticed = threading.Event()
        self._ready = {k: threading.Event() for k in connections}
        self._fingerprints: dict[int, str] = {}
        self._refusal = ""
        self._done = {k: threading.Event() for k in connections}
        self._closed = threading.Event()
        for index in connections:
            self._start_thread(self._listen, index)
        self._start_thread(self._show_alive)

    @contextlib.contextmanager
    def start_barrier(self, fingerprint: Callable[[], str] = str) -> Iterator[None]:
        """Start TensorFlow's servers inside this context: all workers enter it together.

        While the servers look for each other no Python thread runs, so that only a `watchdog` can
        end the process. The servers replace the handler of SIGTERM, which is reset here.

        Args:
            fingerprint: returns the hash of the data of this worker. Default: "".

        Raises:
            ValueError: the data of two workers differ.
            WorkerLostError: another worker is lost.
        """
        own = fingerprint()
        if not self._is_chief:
            self._broadcast({"ready": own})
        for ready in self._ready.values():
            while not ready.wait(POLL_SECONDS):
                if self._loss_noticed.is_set():
                    raise self._loss()
        if self._is_chief:
            self._compare(own)
            self._broadcast({"ready": own})
        if self._refusal:
            raise ValueError(self._refusal)
        with watchdog(START_SECONDS, _NOT_STARTED):
            yield
        signal.signal(signal.SIGTERM, signal.SIG_DFL)

    @contextlib.contextmanager
    def guard(self) -> Iterator[None]:
        """Run the work inside this context; an error names the lost worker that caused it."""
        try:
            yield
        except (ValueError, TypeError, OSError, CommandError, WorkerLostError):
            raise
        except InterruptedRunError:  # on all workers after the same step
            self._leave()
            raise
        except Exception as error:
            if self._loss_noticed.wait(NAMING_SECONDS):
                raise self._loss() from error
            if isinstance(error, _connection_errors()):
                message = f"another worker does not answer: {one_line(error)}"
                raise WorkerLostError(message) from error
            raise
        self._leave()

    def close(self) -> None:
        """Close the connections; unless this worker is done, the others consider it lost."""
        self._closed.set()
        for connection in self.connections.values():
            connection.close()

    @property
    def _is_chief(self) -> bool:
        """Whether this is worker 0, to which all others are connected."""
        return 0 not in self.connections

    def _leave(self) -> None:
        """Report that this worker is done, and wait until all are.

        A worker that exits after its last collective operation takes along its server, from which
        another may still be reading.
        """
        until = time.monotonic() + FAREWELL_SECONDS
        if not self._is_chief:
            self._broadcast({"done": True})
        for done in self._done.values():
            done.wait(max(0.0, until - time.monotonic()))
        if self._is_chief:
            self._broadcast({"done": True})

    def _compare(self, fingerprint: str) -> None:
        """Refuse the start on all workers if the data of one differ from those of the chief."""
        others = [index for index, found in self._fingerprints.items() if found != fingerprint]
        if others:
            self._refusal = (
                f"the data of worker {min(others)} differ from those of worker 0: give all workers "
                "the same files"
            )
            self._broadcast({"refused": self._refusal})

    def _broadcast(self, message: Mapping[str, str | bool]) -> None:
        for connection in self.connections.values():
            connection.send(message)

    def _listen(self, index: int) -> None:
        """Receive a worker's messages until its connection closes or it is silent for too long."""
        connection = self.connections[index]
        while isinstance(message := connection.receive(SILENCE_SECONDS), dict):
            if "refused" in message:
                self._refusal = printable(str(message["refused"]))
                self._ready[index].set()
            if "ready" in message:
                self._fingerprints[index] = str(message["ready"])
                self._ready[index].set()
            if "done" in message:
                self._done[index].set()
            if "lost" in message:
                self._report_loss(message["lost"])
        if not self._done[index].is_set():
            self._report_loss(index)
        self._done[index].set()

    def _show_alive(self) -> None:
        while not self._closed.wait(ALIVE_SECONDS):
            self._broadcast({"alive": True})

    def _report_loss(self, index: int) -> None:
        """Report a lost worker to the others, and end this process unless it exits by itself."""
        if self._closed.is_set() or self._loss_noticed.is_set():
            return
        self._lost_worker = index
        self._loss_noticed.set()
        for other, connection in self.connections.items():
            if other not in (index, 0):
                connection.send({"lost": index})
        self._start_thread(self._end_process)

    def _end_process(self) -> None:
        threading.Event().wait(GRACE_SECONDS)
        if not self._closed.is_set():
            print(f"train: {self._loss()}", file=sys.stderr)
            exit_immediately(WORKER_LOST)

    def _loss(self) -> WorkerLostError:
        return WorkerLostError(
            f"worker {self._lost_worker} is lost: see its own output, then start all workers again"
        )

    @staticmethod
    def _start_thread(function: Callable[..., None], *args: int) -> None:
        threading.Thread(target=function, args=args, daemon=True).start()


def _connection_errors() -> tuple[type[Exception], ...]:
    """Return the errors that TensorFlow raises when it cannot reach another worker."""
    errors = tf.errors
    return (
        errors.UnavailableError,
        errors.AbortedError,
        errors.CancelledError,
        errors.DeadlineExceededError,
    )
