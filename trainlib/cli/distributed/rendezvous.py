"""Rendezvous of the workers before TensorFlow starts: all connect to the first, which checks them.

The connections stay open during the run: one that ends without notice shows that its worker is
lost.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from trainlib.cli.distributed.connection import Connection, as_connection, connect, split_address
from trainlib.cli.exit_status import WorkerLostError
from trainlib.training.cluster import Cluster

RETRY_SECONDS = 0.2
"""Seconds between two attempts to connect to the first worker."""
GREETING_SECONDS = 5.0
"""Seconds that the first worker waits for the first message of a new connection."""


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

    def missed_by(self, workers: str) -> WorkerLostError:
        """Return the error that names workers which did not connect."""
        return WorkerLostError(
            f"{workers} did not connect within {self.seconds:g} s; "
            "--worker_timeout sets a longer wait"
        )


def rendezvous(
    cluster: Cluster, settings: Mapping[str, str], timeout: float, check: Callable[[], None]
) -> dict[int, Connection]:
    """Wait until all workers are connected and their settings are known to be equal.

    Args:
        cluster: addresses of all workers, and the number of this one.
        settings: flags that must be equal on all workers, as `--name=value` by name.
        timeout: seconds to wait.
        check: called on the first worker when all are connected; its ValueError ends all workers.

    Returns:
        Connections by the number of the worker at the other end: on the first worker one to each
        other worker, on each other worker one to the first.

    Raises:
        ValueError: settings or clusters differ, or `check` raised it.
        WorkerLostError: a worker did not connect in time.
    """
    deadline = Deadline.after(timeout)
    greeting = {
        "cluster": list(cluster.addresses),
        "index": cluster.number,
        "flags": dict(settings),
    }
    if cluster.number:
        return {0: _join(cluster.addresses[0], greeting, deadline)}
    connections: dict[int, Connection] = {}
    try:
        greetings = _accept_workers(cluster, connections, deadline)
        missing = [k for k in range(1, len(cluster.addresses)) if k not in connections]
        if missing:
            names = ", ".join(f"{k} ({cluster.addresses[k]})" for k in missing)
            raise deadline.missed_by(f"worker {names}")
        _check_settings(settings, greetings)
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
    cluster: Cluster, connections: dict[int, Connection], deadline: Deadline
) -> dict[int, Any]:
    """Fill `connections` as workers connect until the deadline; return their greetings."""
    host, port = split_address(cluster.addresses[0])
    greetings: dict[int, Any] = {}
    interface = host if host in ("localhost", "127.0.0.1") else ""
    with socket.create_server((interface, port)) as server:
        while len(connections) < len(cluster.addresses) - 1 and (left := deadline.left) > 0:
            server.settimeout(left)
            try:
                connected = server.accept()[0]
            except TimeoutError:
                break
            connection = as_connection(connected, min(left, GREETING_SECONDS))
            greeting = connection.receive()
            if not isinstance(greeting, dict) or not {"cluster", "index", "flags"} <= set(greeting):
                connection.close()  # not a worker
                continue
            if greeting["cluster"] != list(cluster.addresses):
                message = _cluster_mismatch(cluster, greeting)
                connection.send({"refused": message})
                connection.close()
                raise ValueError(message)
            index = greeting["index"]
            if index in connections:  # the worker has been started again
                connections[index].close()
            connections[index], greetings[index] = connection, greeting
            connected.settimeout(None)
    return greetings


def _cluster_mismatch(cluster: Cluster, greeting: Any) -> str:
    return (
        f"TF_CONFIG of worker {greeting['index']} has the cluster "
        f"{', '.join(greeting['cluster'])}, that of worker 0 has {', '.join(cluster.addresses)}: "
        "all workers need the same"
    )


def _check_settings(own: Mapping[str, str], greetings: Mapping[int, Any]) -> None:
    """Raise `ValueError` if the flags of a worker differ from those of the first."""
    for index, greeting in sorted(greetings.items()):
        theirs = greeting["flags"]
        for name in dict.fromkeys([*own, *theirs]):
            given, expected = theirs.get(name, ""), own.get(name, "")
            if given != expected:
                raise ValueError(
                    f"worker {index} has {given or f'no --{name}'}, worker 0 "
                    f"{expected or f'no --{name}'}: all workers need the same flags"
                )


def _join(address: str, greeting: Any, deadline: Deadline) -> Connection:
    """Return the connection to the first worker, once all workers are connected."""
    while (left := deadline.left) > 0:
        try:
            connection = connect(address, left)
        except OSError:
            time.sleep(RETRY_SECONDS)
            continue
        connection.send(greeting)
        # The first worker may have started earlier: its deadline is then before this one's.
        answer = connection.receive()
        answer = answer if isinstance(answer, dict) else {}
        if "begin" in answer:
            connection.socket.settimeout(None)
            return connection
        connection.close()
        if "refused" in answer:
            raise ValueError(answer["refused"])
        if "lost" in answer:
            raise WorkerLostError(answer["lost"])
        time.sleep(RETRY_SECONDS)
    raise deadline.missed_by(f"worker 0 ({address})")
