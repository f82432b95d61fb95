"""`launch_local`: start the workers of a multi-worker run on this machine, to try it out."""

from __future__ import annotations

import ctypes
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import trainlib
from trainlib.cli.distributed.secret import VARIABLE as SECRET
from trainlib.cli.errors import one_line
from trainlib.cli.exit_status import BAD_INPUT
from trainlib.cli.help import terminal_width, wrap_paragraphs
from trainlib.cli.process_exit import fail
from trainlib.training.cluster import VARIABLE
from trainlib.training.keras_settings import check_backend, check_data_format
from trainlib.training.processes import python_module

ABOUT = """
launch_local: start the workers of one run on this machine, over its loopback interface.

  launch_local N -- train --epochs=5 ...

Worker 0 prints what train prints; what the other workers write to stderr begins with their number.
The exit status is that of the first worker that failed, or 128 + N if signal N killed it.
"""
COMMANDS = ("train",)
_PR_SET_PDEATHSIG = 1
STOP_SECONDS = 30.0
"""Seconds for the workers to end after one failed or a signal arrived; then they are killed."""
POLL_SECONDS = 0.05
MOST = 64
"""The largest number of workers of one machine."""


def main() -> None:
    """Run the command `launch_local`."""
    arguments = sys.argv[1:]
    if not arguments or arguments[0] in ("-h", "--help"):
        print(wrap_paragraphs(ABOUT, terminal_width()))
        return
    try:
        count, worker_arguments = parse_arguments(arguments)
        check_backend()
        check_data_format()
        status = launch(count, worker_arguments)
    except (ValueError, OSError) as error:
        fail("launch_local", one_line(error), BAD_INPUT)
    sys.exit(status)


def parse_arguments(arguments: Sequence[str]) -> tuple[int, list[str]]:
    """Return the number of workers, and the command of each.

    Raises:
        ValueError: the arguments are not `N -- train ...`.
    """
    count, *rest = arguments
    if not (count.isascii() and count.isdigit() and len(count) < 9 and 0 < int(count) <= MOST):
        raise ValueError(f"N, the number of workers, must be from 1 to {MOST}, got {count!r}")
    if rest[:1] == ["--"]:
        del rest[0]
    if not rest or rest[0] not in COMMANDS:
        given = repr(rest[0]) if rest else "nothing"
        raise ValueError(f"N must be followed by -- train and its flags, got {given}")
    return int(count), python_module(f"trainlib.cli.{rest[0]}", *rest[1:])


def launch(count: int, arguments: Sequence[str]) -> int:
    """Start the workers and wait for their end.

    Args:
        count: number of workers.
        arguments: the command of each.

    Returns:
        The exit status of the first worker that failed; 0 if none did.
    """
    with _received_signals() as received, ExitStack() as cleanup:
        workers: list[subprocess.Popen[str]] = []
        secret = secrets.token_hex(32)
        for index, tf_config in enumerate(tf_configs(free_ports(count))):
            workers.append(_start(index, tf_config, secret, arguments))
            cleanup.callback(workers[-1].kill)
        relays = [_relay_errors(index, worker) for index, worker in enumerate(workers) if index]
        status = _wait(workers, received)
        for relay in relays:
            relay.join(STOP_SECONDS)
        return status


def free_ports(count: int) -> list[int]:
    """Return free ports of this machine."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def tf_configs(ports: Sequence[int]) -> list[str]:
    """Return the TF_CONFIG of each worker on this machine, given their ports."""
    cluster = {"worker": [f"127.0.0.1:{port}" for port in ports]}
    return [
        json.dumps({"cluster": cluster, "task": {"type": "worker", "index": index}})
        for index in range(len(ports))
    ]


@contextmanager
def _received_signals() -> Iterator[list[int]]:
    """Collect SIGINT and SIGTERM in a list instead of handling them."""
    received: list[int] = []

    def append(number: int, frame: FrameType | None) -> None:
        received.append(number)

    previous = {number: signal.signal(number, append) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _start(
    index: int, tf_config: str, secret: str, arguments: Sequence[str]
) -> subprocess.Popen[str]:
    """Start a worker in a new process group, so that Ctrl-C reaches it once: from here."""
    root = str(Path(trainlib.__file__).parents[1])
    path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    return subprocess.Popen(
        arguments,
        env={SECRET: secret, **os.environ, VARIABLE: tf_config, "PYTHONPATH": path},
        stdout=subprocess.DEVNULL if index else None,
        stderr=subprocess.PIPE if index else None,
        text=True,
        start_new_session=True,
        preexec_fn=ends_with(os.getpid()),
    )


def ends_with(launcher: int) -> Callable[[], None] | None:
    """Return what a new process calls so that it gets SIGTERM when this one ends, by a kill too.

    Only Linux has such a call; None elsewhere.

    Args:
        launcher: the id of this process.
    """
    if not sys.platform.startswith("linux"):
        return None
    prctl = ctypes.CDLL(None).prctl

    def request() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        if os.getppid() != launcher:  # it has ended in the meantime
            os._exit(128 + signal.SIGTERM)

    return request


def _relay_errors(index: int, worker: subprocess.Popen[str]) -> threading.Thread:
    """Print each line of a worker's stderr with the worker's number before it."""

    def relay() -> None:
        stream: Any = worker.stderr
        with stream:
            for line in stream:
                print(f"worker {index}: {line.rstrip()}", file=sys.stderr, flush=True)

    thread = threading.Thread(target=relay, daemon=True)
    thread.start()
    return thread


def _wait(workers: Sequence[subprocess.Popen[str]], received: Sequence[int]) -> int:
    """Wait for all workers, forwarding received signals; return the first status that is not 0."""
    status, forwarded, deadline = 0, 0, float("inf")
    while running := [worker for worker in workers if worker.poll() is None]:
        status = status or _failure_status(workers)
        for number in received[forwarded:]:
            for worker in running:
                worker.send_signal(number)
            forwarded += 1
        if (status or forwarded) and deadline == float("inf"):
            deadline = time.monotonic() + STOP_SECONDS
        if time.monotonic() > deadline:
            for worker in running:
                worker.kill()
        time.sleep(POLL_SECONDS)
    status = status or _failure_status(workers)
    return status or (128 + received[0] if received else 0)


def _failure_status(workers: Sequence[subprocess.Popen[str]]) -> int:
    """Return the first status that is not 0, as a shell reports it; a killed worker comes first."""
    codes = [worker.returncode for worker in workers if worker.returncode]
    killed = [128 - code for code in codes if code < 0]
    return (killed or [*codes, 0])[0]


if __name__ == "__main__":
    main()
