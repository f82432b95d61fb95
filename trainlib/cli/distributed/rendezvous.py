"""Rendezvous of the workers before TensorFlow starts: all connect to the first, which checks them.

Each end proves that it knows the secret of the workers before it says or believes anything. The
connections stay open during the run: one that ends without notice shows that its worker is lost.

    worker                                              chief
    {"nonce": w}                                 ->
                                                 <-     {"nonce": c, "proof": of chief, w, c}
    {"greeting": text, "proof": of worker, w, c, text} ->
                                                 <-     {"begin"}, {"refused"} or {"lost"}
"""

from __future__ import annotations

import contextlib
import json
import queue
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from trainlib.cli.distributed.connection import Connection, connect, listen
from trainlib.cli.distributed.secret import is_proof, proof
from trainlib.cli.exit_status import WorkerLostError
from trainlib.training.cluster import Cluster
from trainlib.training.paths import printable

RETRY_SECONDS = 0.2
"""Seconds between two attempts to connect to the first worker."""
GREETING_SECONDS = 5.0
"""Seconds in which both ends of a new connection prove that they know the secret."""
MAX_PENDING = 256
"""Number of connections that have proved nothing yet; the oldest is closed for one more."""
_NONCE_LENGTH = 64


class Deadline(NamedTuple):
    """Point in time, and the length of the wait that ends there, for messages; in seconds."""

    until: float
    seconds: float

    @classmethod
    def after(cls, seconds: float) -> Deadline:
        """Return the deadline some seconds from now."""
        return cls(time.monotonic() + seconds, seconds)

    @property
    def left(self) -> float:
        """Seconds until the deadline, negative after it."""
        return self.until - time.monotonic()

    def missed_by(self, workers: str, why: str = "") -> WorkerLostError:
        """Return the error that names workers which did not connect."""
        hint = why or "--worker_timeout sets a longer wait"
        return WorkerLostError(f"{workers} did not connect within {self.seconds:g} s; {hint}")


class Greeting(NamedTuple):
    """What a worker says about itself.

    Attributes:
        cluster: addresses of all workers, as it knows them.
        number: its number, from 0.
        flags: its settings, as `--name=value` by name.
    """

    cluster: list[str]
    number: int
    flags: dict[str, str]


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
        check: called on the first worker when all are connected; its ValueError ends all workers.
        secret: what all workers know and no other process. Default: none, every process is
            believed.

    Returns:
        Connections by the number of the worker at the other end: on the first worker one to each
        other worker, on each other worker one to the first.

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
    """Return the connections to all other workers, on the first one."""
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
    """Return a queue of the workers that have proved that they know the secret.

    Each connection is served by a thread of its own, so that none delays another.
    """
    found: queue.Queue[tuple[Connection, Greeting]] = queue.Queue()
    pending: dict[Connection, None] = {}
    closing, lock = threading.Event(), threading.Lock()

    def serve(connection: Connection) -> None:
        greeting = _receive_greeting(connection, secret)
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


def _receive_greeting(connection: Connection, secret: bytes) -> Greeting | None:
    """Return what a worker says, on the first one; None for another process."""
    deadline = Deadline.after(GREETING_SECONDS)
    theirs = _nonce(connection.receive(deadline.left))
    if theirs is None:
        return None
    nonces = [theirs, secrets.token_hex(_NONCE_LENGTH // 2)]
    connection.send({"nonce": nonces[1], "proof": proof(secret, "chief", nonces)})
    answer = connection.receive(deadline.left)
    text = answer.get("greeting") if isinstance(answer, dict) else None
    if not isinstance(text, str):
        return None
    if not is_proof(answer.get("proof"), proof(secret, "worker", nonces, text)):
        return None
    return _parse_greeting(text)


def _parse_greeting(text: str) -> Greeting | None:
    """Return a greeting from its JSON; None if a field is missing or of another type."""
    try:
        cluster, index, flags = json.loads(text)
    except (ValueError, TypeError, RecursionError):
        return None
    fits = (
        isinstance(cluster, list)
        and all(isinstance(address, str) for address in cluster)
        and type(index) is int
        and isinstance(flags, dict)
        and all(isinstance(value, str) for value in flags.values())
    )
    return Greeting(cluster, index, flags) if fits else None


def _nonce(message: Any) -> str | None:
    """Return the nonce of a message; None if it has none."""
    nonce = message.get("nonce") if isinstance(message, dict) else None
    return nonce if isinstance(nonce, str) and len(nonce) == _NONCE_LENGTH else None


def _cluster_mismatch(own: Greeting, theirs: Greeting) -> str:
    return printable(
        f"TF_CONFIG of worker {theirs.number} has the cluster {', '.join(theirs.cluster)}, that of "
        f"worker 0 has {', '.join(own.cluster)}: all workers need the same"
    )


def _check_settings(own: Mapping[str, str], greetings: Mapping[int, Greeting]) -> None:
    """Raise `ValueError` if the flags of a worker differ from those of the first."""
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
    """Return the connection to the first worker, once all workers are connected."""
    address, why = own.cluster[0], ""
    while (left := deadline.left) > 0:
        try:
            connection = connect(address, left)
        except OSError:
            time.sleep(RETRY_SECONDS)
            continue
        answer = None
        if _send_greeting(connection, own, secret):
            # The first worker may have started earlier: its deadline is then before this one's.
            answer = connection.receive(deadline.left)
        elif not connection.has_ended():
            why = "what listens there does not know the secret of this worker"
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
    raise deadline.missed_by(f"worker 0 ({address})", why)


def _send_greeting(connection: Connection, own: Greeting, secret: bytes) -> bool:
    """Say what this worker is, if the other end proves that it is the first worker."""
    nonce = secrets.token_hex(_NONCE_LENGTH // 2)
    connection.send({"nonce": nonce})
    answer = connection.receive(GREETING_SECONDS)
    theirs = _nonce(answer)
    if theirs is None:
        return False
    nonces = [nonce, theirs]
    if not is_proof(answer.get("proof"), proof(secret, "chief", nonces)):
        return False
    text = json.dumps(own)
    connection.send({"greeting": text, "proof": proof(secret, "worker", nonces, text)})
    return True
