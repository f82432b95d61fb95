"""Connection of two workers: messages are JSON, one per line, over a TCP socket."""

from __future__ import annotations

import json
import socket
import time
from typing import Any

LONGEST_LINE = 2**20
"""Maximal length of a message in bytes."""
KEEPALIVE = {"TCP_KEEPIDLE": 15, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3}
"""Socket options: the connection breaks when a machine has not answered for 30 seconds."""
_CHUNK = 2**16


class Connection:
    """Connection to another worker.

    Args:
        connected: the socket.
    """

    def __init__(self, connected: socket.socket) -> None:
        self.socket = connected
        self._received = bytearray()
        if connected.family in (socket.AF_INET, socket.AF_INET6):
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for name, value in KEEPALIVE.items():
                if hasattr(socket, name):
                    connected.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)

    def send(self, message: Any) -> None:
        """Send a message; does nothing if the other end is closed."""
        try:
            self.socket.sendall(json.dumps(message).encode() + b"\n")
        except OSError:
            pass  # the thread that reads from the connection notices the end

    def receive(self, timeout: float | None = None) -> Any:
        """Return the next message.

        Args:
            timeout: seconds until the whole message must be there. Default: None, no limit.

        Returns:
            The message; None at the end of the connection, after the timeout, and for a line that
            is too long or is not JSON.
        """
        until = None if timeout is None else time.monotonic() + timeout
        try:
            while (end := self._received.find(b"\n")) < 0:
                left = None if until is None else until - time.monotonic()
                if len(self._received) > LONGEST_LINE or (left is not None and left <= 0):
                    return None
                self.socket.settimeout(left)
                chunk = self.socket.recv(_CHUNK)
                if not chunk:
                    return None
                self._received += chunk
            line = bytes(self._received[:end])
            del self._received[: end + 1]
            return json.loads(line)
        except (OSError, ValueError, RecursionError):
            return None

    def has_ended(self) -> bool:
        """Return whether the other end is closed."""
        try:
            self.socket.setblocking(False)
            return self.socket.recv(1, socket.MSG_PEEK) == b""
        except BlockingIOError:
            return False
        except OSError:
            return True
        finally:
            self.socket.setblocking(True)

    def close(self) -> None:
        """Close both directions of the connection."""
        try:
            self.socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.socket.close()


def connect(address: str, timeout: float) -> Connection:
    """Connect to a `host:port`; OSError if no process listens there."""
    return Connection(socket.create_connection(split_address(address), timeout))


def listen(worker: int, address: str) -> socket.socket:
    """Return a server socket on a worker's address, and on no other interface of the machine.

    Raises:
        ValueError: the host is unknown or not this machine, or the port is in use.
    """
    host, port = split_address(address)
    where = f"worker {worker} of TF_CONFIG ({address})"
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise ValueError(f"{where}: the host is unknown: {error.strerror}") from error
    family, _, _, _, place = found[0]
    try:
        return socket.create_server(place[:2], family=family, backlog=128)
    except OSError as error:
        raise ValueError(f"{where}: cannot listen there: {error.strerror}") from error


def split_address(address: str) -> tuple[str, int]:
    """Return the host and the port of `host:port`; IPv6 hosts stand in brackets."""
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)
