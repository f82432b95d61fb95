"""How workers meet before TensorFlow starts: each tells the first one its flags, and waits.

The connections stay open. One that ends without a word tells at once that its worker is gone.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from trainlib.cli.exit_status import WorkerLostError
from trainlib.training.cluster import Cluster

PAUSE = 0.2
"""Seconds between two attempts to reach the first worker."""
LONGEST = 2**20
"""Bytes of a line."""
KEEPALIVE = {"TCP_KEEPIDLE": 15, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3}
"""After 30 silent seconds a machine that does not answer is taken for lost."""


class Line(NamedTuple):
    """A connection to another worker, over which lines of JSON go."""

    socket: socket.socket
    reader: Any

    def send(self, message: Any) -> None:
        """Sends a message; nothing where nobody is there any more."""
        try:
            self.socket.sendall(json.dumps(message).encode() + b"\n")
        except OSError:
            pass  # the thread that reads from it finds out

    def receive(self) -> Any:
        """The next message; None at the end, and for what is none."""
        try:
            return json.loads(self.reader.readline(LONGEST))
        except (OSError, ValueError):
            return None

    def close(self) -> None:
        """Ends the connection, at both ends."""
        try:
            self.socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.socket.close()
        self.reader.close()


def meet(
    cluster: Cluster, flags: Mapping[str, str], seconds: float, check: Callable[[], None]
) -> dict[int, Line]:
    """Waits until all workers are there, and their flags are found to be the same.

    Args:
        cluster: all of them, and which this one is.
        flags: what must be the same, by name.
        seconds: how long to wait.
        check: what the first one checks when all are there; its ValueError ends all.

    Returns:
        By worker, for the first one its connections to all others; for each other to the first.

    Raises:
        ValueError: flags, or the clusters, differ; or of the check.
        WorkerLostError: one did not come in time.
    """
    until = time.monotonic() + seconds
    hello = {"cluster": list(cluster.addresses), "index": cluster.number, "flags": dict(flags)}
    if cluster.number:
        return {0: _join(cluster, hello, until, seconds)}
    lines: dict[int, Line] = {}
    try:
        answers = _gather(cluster, lines, until)
        missing = [k for k in range(1, len(cluster.addresses)) if k not in lines]
        if missing:
            names = ", ".join(f"{k} ({cluster.addresses[k]})" for k in missing)
            raise WorkerLostError(
                f"worker {names} did not connect within {seconds:g} s: --worker_timeout"
            )
        _compare(hello, answers)
        check()
    except Exception as error:
        kind = "gone" if isinstance(error, WorkerLostError) else "refused"
        for line in lines.values():
            line.send({kind: str(error)})
            line.close()
        raise
    for line in lines.values():
        line.send({"begin": True})
    return lines


def _gather(cluster: Cluster, lines: dict[int, Line], until: float) -> dict[int, Any]:
    """What the others say, put into `lines` as they come; those who are late are missing."""
    host, port = _parts(cluster.addresses[0])
    answers: dict[int, Any] = {}
    own = host if host in ("localhost", "127.0.0.1") else ""
    with socket.create_server((own, port)) as server:
        while len(lines) < len(cluster.addresses) - 1 and (left := until - time.monotonic()) > 0:
            server.settimeout(left)
            try:
                connection = server.accept()[0]
            except TimeoutError:
                break
            line = _line(connection, min(left, 5))  # who connects says so at once
            hello = line.receive()
            if not isinstance(hello, dict) or not {"cluster", "index", "flags"} <= set(hello):
                line.close()
                continue
            if hello["cluster"] != list(cluster.addresses):
                line.send({"refused": _other_cluster(cluster, hello)})
                line.close()
                raise ValueError(_other_cluster(cluster, hello))
            index = hello["index"]
            if index in lines:  # it has been started anew
                lines[index].close()
            lines[index], answers[index] = line, hello
            connection.settimeout(None)
    return answers


def _other_cluster(cluster: Cluster, hello: Any) -> str:
    return (
        f"TF_CONFIG of worker {hello['index']} has the cluster {', '.join(hello['cluster'])}, that "
        f"of worker 0 {', '.join(cluster.addresses)}: all workers need the same"
    )


def _compare(own: Any, answers: Mapping[int, Any]) -> None:
    """Raises where a worker has other flags than the first."""
    for index, hello in sorted(answers.items()):
        names = [*own["flags"], *(x for x in hello["flags"] if x not in own["flags"])]
        for name in names:
            given, here = (of["flags"].get(name, "") for of in (hello, own))
            if given != here:
                raise ValueError(
                    f"worker {index} has {given or f'no --{name}'}, worker 0 "
                    f"{here or f'no --{name}'}: all workers need the same flags"
                )


def _join(cluster: Cluster, hello: Any, until: float, seconds: float) -> Line:
    """The connection to the first worker, once it has said that all are there."""
    address = cluster.addresses[0]
    while (left := until - time.monotonic()) > 0:
        try:
            line = _line(socket.create_connection(_parts(address), timeout=left), left)
        except OSError:
            time.sleep(PAUSE)
            continue
        line.send(hello)
        # The first one may have started before this one: it gives up before this one does.
        answer = line.receive()
        if isinstance(answer, dict) and "begin" in answer:
            line.socket.settimeout(None)
            return line
        line.close()
        if isinstance(answer, dict) and "refused" in answer:
            raise ValueError(answer["refused"])
        if isinstance(answer, dict) and "gone" in answer:
            raise WorkerLostError(answer["gone"])
        time.sleep(PAUSE)
    raise WorkerLostError(
        f"worker 0 ({address}) did not connect within {seconds:g} s: --worker_timeout"
    )


def _line(connection: socket.socket, seconds: float) -> Line:
    connection.settimeout(seconds)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in KEEPALIVE.items():
        if hasattr(socket, name):
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    return Line(connection, connection.makefile("rb"))


def _parts(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)
