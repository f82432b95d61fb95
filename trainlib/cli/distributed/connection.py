"""Connection of two workers: messages are JSON, one per line, over a TCP socket."""

from __future__ import annotations

import json
import socket
from typing import Any, NamedTuple

LONGEST_LINE = 2**20
"""Maximal length of a message in bytes."""
KEEPALIVE = {"TCP_KEEPIDLE": 15, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3}
"""Socket options: a machine that has not answered for 30 seconds is lost."""


class Connection(NamedTuple):
    """Connection to another worker.

    Attributes:
        socket: the socket.
        reader: its binary file for reading.
    """

    socket: socket.socket
    reader: Any

    def send(self, message: Any) -> None:
        """Send a message; does nothing if the other end is closed."""
        try:
            self.socket.sendall(json.dumps(message).encode() + b"\n")
        except OSError:
            pass  # the thread that reads from the connection notices the end

    def receive(self) -> Any:
        """Return the next message; None at the end, or for a line that is not JSON."""
        try:
            return json.loads(self.reader.readline(LONGEST_LINE))
        except (OSError, ValueError):
            return None

    def close(self) -> None:
        """Close both directions of the connection."""
        try:
            self.socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.socket.close()
        self.reader.close()


def connect(address: str, timeout: float) -> Connection:
    """Connect to a `host:port`; OSError if no process listens there."""
    return as_connection(socket.create_connection(split_address(address), timeout), timeout)


def as_connection(connected: socket.socket, timeout: float) -> Connection:
    """Return a connected socket as a `Connection` whose operations time out after some seconds."""
    connected.settimeout(timeout)
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in KEEPALIVE.items():
        if hasattr(socket, name):
            connected.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    return Connection(connected, connected.makefile("rb"))


def split_address(address: str) -> tuple[str, int]:
    """Return the host and the port of `host:port`; IPv6 hosts stand in brackets."""
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)
