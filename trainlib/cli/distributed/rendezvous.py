"""Rendezvous of the workers before TensorFlow starts: all connect to the chief, worker 0.

The chief compares the settings of all workers, and answers each greeting (see `handshake`) by
{"begin"}, {"refused"} or {"lost"}. The connections stay open during the run: one that closes
without notice shows that its worker is lost.
"""

from __future__ import annotations

import contextlib
import queue
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from trainlib.cli.distributed.connection import Connection, connect, listen
from trainlib.cli.distributed.handshake import Greeting, receive_greeting, send_greeting
from trainlib.cli.errors import WorkerLostError
from trainlib.training.cluster import Cluster
from trainlib.training.paths import printable

RETRY_SECONDS = 0.2
"""Seconds between two attempts to connect to the chief."""
MAX_PENDING = 256
"""Largest number of unfinished handshakes; the connection of the oldest is closed for a new one."""


class Deadline(NamedTuple):
    """The end of a wait.

    Attributes:
        until: when it ends, in seconds of `time.monotonic`.
        seconds: length of the wait, for messages.
    """

    until: float
    seconds: float

    @classmethod
    def after(cls, seconds: float) -> Deadline:
        """Return the deadline after a number of seconds."""
        return cls(time.monotonic() + seconds, seconds)

    @property
    def left(self) -> float:
        """Seconds until the deadline, negative after it."""
        return self.until - time.monotonic()

    def missed_by(self, workers: str, reason: str = "") -> WorkerLostError:
        """Return the error for workers that did not connect in time."""
        hint = reason or "--worker_timeout sets a longer wait"
        return WorkerLostError(f"{workers} did not connect within {self.seconds:g} s; {hint}")


def rendezvous(
    cluster: Cluster,
    settings: Mapping[str, str],
    timeout: float,
    check: Callable[[], None],
    secret: bytes = b"",
) -> dict[int, Connection]:
    """Wait until all workers are connected and their settings are known to be equal.

    Args:
        cluster: addresses of all workers, and the number of this one.
        settings: flags that must be equal on all workers, as `--name=value` by name.
        timeout: seconds to wait.
        check: called on the chief when all are connected; its ValueError ends all workers.
        secret: secret of the workers. Default: empty, every process that connects is trusted.

    Returns:
        Connections by the number of the worker at the other end: on the chief one to each other
        worker, on each other worker one to the chief.

    Raises:
        ValueError: settings or clusters differ, `check` raised it, or the address of this worker
            is not free.
        WorkerLostError: a worker did not connect in time.
    """
    deadline = Deadline.after(timeout)
    own = Greeting(list(cluster.addresses), cluster.number, dict(settings))
    with listen(cluster.number, cluster.addresses[cluster.number]) as server:
        if cluster.number == 0:
            return _gather(server, own, deadline, check, secret)
    return {0: _join(own, deadline, secret)}


def _gather(
    server: socket.socket,
    own: Greeting,
    deadline: Deadline,
    check: Callable[[], None],
    secret: bytes,
) -> dict[int, Connection]:
    """Return the connections to all other workers, on the chief."""
    connections: dict[int, Connection] = {}
    try:
        greetings = _accept_workers(server, own, connections, deadline, secret)
        missing = [k for k in range(1, len(own.cluster)) if k not in connections]
        if missing:
            names = ", ".join(f"{k} ({own.cluster[k]})" for k in missing)
            raise deadline.missed_by(f"worker {names}")
        _check_settings(own.flags, greetings)
        check()
    except Exception as error:
        kind = "lost" if isinstance(error, WorkerLostError) else "refused"
        for connection in connections.values():
            connection.send({kind: str(error)})
            connection.close()
        raise
    for connection in connections.values():
        connection.send({"begin": True})
    return connections


def _accept_workers(
    server: socket.socket,
    own: Greeting,
    connections: dict[int, Connection],
    deadline: Deadline,
    secret: bytes,
) -> dict[int, Greeting]:
    """Fill `connections` as workers connect until the deadline; return their greetings."""
    greetings: dict[int, Greeting] = {}
    with _newcomers(server, secret) as newcomers:
        while len(connections) < len(own.cluster) - 1 and (left := deadline.left) > 0:
            try:
                connection, greeting = newcomers.get(timeout=left)
            except queue.Empty:
                break
            index = greeting.number
            if greeting.cluster != own.cluster:
                _refuse(connection, message := _cluster_mismatch(own, greeting))
                raise ValueError(message)
            if index in connections and not connections[index].has_ended():
                _refuse(connection, f"worker {index} is connected already")
            elif index in range(1, len(own.cluster)):  # perhaps started again
                connections[index], greetings[index] = connection, greeting
            else:
                connection.close()
    return greetings


def _refuse(connection: Connection, message: str) -> None:
    connection.send({"refused": message})
    connection.close()


@contextlib.contextmanager
def _newcomers(
    server: socket.socket, secret: bytes
) -> Iterator[queue.Queue[tuple[Connection, Greeting]]]:
    """Return a queue of the workers whose handshake has succeeded.

    Each connection has a thread, so that none delays another.
    """
    found: queue.Queue[tuple[Connection, Greeting]] = queue.Queue()
    pending: dict[Connection, None] = {}
    closing, lock = threading.Event(), threading.Lock()

    def serve(connection: Connection) -> None:
        greeting = receive_greeting(connection, secret)
        with lock:
            pending.pop(connection, None)
            if greeting is not None and not closing.is_set():
                found.put((connection, greeting))
                return
        connection.close()

    def accept() -> None:
        while not closing.is_set():
            try:
                connection = Connection(server.accept()[0])
            except OSError:  # the server is closed, or descriptors are scarce
                closing.wait(RETRY_SECONDS)
                continue
            with lock:
                oldest = next(iter(pending)) if len(pending) >= MAX_PENDING else None
                pending[connection] = None
            if oldest is not None:
                oldest.close()
            threading.Thread(target=serve, args=[connection], daemon=True).start()

    server.settimeout(RETRY_SECONDS)
    acceptor = threading.Thread(target=accept, daemon=True)
    acceptor.start()
    try:
        yield found
    finally:
        closing.set()
        acceptor.join()
        with lock:
            unused = list(pending)
        while not found.empty():
            unused.append(found.get()[0])
        for connection in unused:
            connection.close()


def _cluster_mismatch(own: Greeting, theirs: Greeting) -> str:
    return printable(
        f"TF_CONFIG of worker {theirs.number} has the cluster {', '.join(theirs.cluster)}, that of "
        f"worker 0 has {', '.join(own.cluster)}: all workers need the same"
    )


def _check_settings(own: Mapping[str, str], greetings: Mapping[int, Greeting]) -> None:
    """Raise `ValueError` if the flags of a worker differ from those of the chief."""
    for index, greeting in sorted(greetings.items()):
        theirs = greeting.flags
        for name in dict.fromkeys([*own, *theirs]):
            given, expected = theirs.get(name, ""), own.get(name, "")
            if given != expected:
                raise ValueError(
                    printable(
                        f"worker {index} has {given or f'no --{name}'}, worker 0 "
                        f"{expected or f'no --{name}'}: all workers need the same flags"
                    )
                )


def _join(own: Greeting, deadline: Deadline, secret: bytes) -> Connection:
    """Return the connection to the chief, once all workers are connected."""
    address, reason = own.cluster[0], ""
    while (left := deadline.left) > 0:
        try:
            connection = connect(address, left)
        except OSError:
            time.sleep(RETRY_SECONDS)
            continue
        answer = None
        if send_greeting(connection, own, secret):
            # The chief may have started earlier: its deadline is then before this one's.
            answer = connection.receive(deadline.left)
        elif not connection.has_ended():
            reason = "the process there does not know the secret of this worker"
        answer = answer if isinstance(answer, dict) else {}
        if "begin" in answer:
            connection.socket.settimeout(None)
            return connection
        connection.close()
        if "refused" in answer:
            raise ValueError(printable(str(answer["refused"])))
        if "lost" in answer:
            raise WorkerLostError(printable(str(answer["lost"])))
        time.sleep(RETRY_SECONDS)
    raise deadline.missed_by(f"worker 0 ({address})", reason)
