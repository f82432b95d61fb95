"""The handshake of two workers over a pair of sockets."""

from __future__ import annotations

import socket
import threading

import pytest

from trainlib.cli.distributed.connection import Connection
from trainlib.cli.distributed.handshake import (
    Greeting,
    _parse_greeting,
    receive_greeting,
    send_greeting,
)

SECRET = b"0123456789abcdef"
GREETING = Greeting(["10.0.0.1:1", "10.0.0.2:1"], 1, {"seed": "--seed=1"})


def handshake(chief_secret: bytes, worker_secret: bytes) -> tuple[bool, Greeting | None]:
    """What the worker returns, and the greeting that the chief receives."""
    ends = [Connection(end) for end in socket.socketpair()]
    sent: list[bool] = []

    def greet() -> None:
        sent.append(send_greeting(ends[1], GREETING, worker_secret))
        ends[1].close()

    worker = threading.Thread(target=greet)
    worker.start()
    received = receive_greeting(ends[0], chief_secret)
    worker.join()
    ends[0].close()
    return sent[0], received


def test_workers_with_one_secret_exchange_a_greeting():
    assert handshake(SECRET, SECRET) == (True, GREETING)


@pytest.mark.parametrize("other", [b"another secret 16", b""])
def test_a_worker_greets_no_process_that_lacks_its_secret(other):
    assert handshake(other, SECRET) == (False, None)


@pytest.mark.parametrize("text", ['["x"]', "{}", '[["a"], true, {}]', '[["a"], 1, {"seed": 1}]'])
def test_a_greeting_of_another_form_is_refused(text):
    assert _parse_greeting(text) is None
