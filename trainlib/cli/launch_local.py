"""`launch_local`: starts several workers on this machine, for trying out what runs on many."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import trainlib
from trainlib.cli.exit_status import BAD_INPUT, fail
from trainlib.training.cluster import VARIABLE

ABOUT = """
launch_local: starts several workers of one run on this machine, over its loopback.

  launch_local N -- train --epochs=5 ...

The first worker reports; errors of the others have their number in front. The exit status is that
of the worker that failed first, as of `train`; 128 + the signal where one was killed.
"""
COMMANDS = ("train",)
STOPS_WITHIN = 30.0
"""Seconds in which the workers must end after one has failed or they have been told to."""
PAUSE = 0.05


def main() -> None:
    """The command."""
    arguments = sys.argv[1:]
    if not arguments or arguments[0] in ("-h", "--help"):
        print(ABOUT.strip())
        return
    try:
        count, worker = parsed(arguments)
    except ValueError as error:
        fail("launch_local", str(error), BAD_INPUT)
    sys.exit(launch(count, worker))


def parsed(arguments: Sequence[str]) -> tuple[int, list[str]]:
    """How many workers, and the arguments of each one's Python.

    Raises:
        ValueError: something else is asked for than `N -- train ...`.
    """
    count, *rest = arguments
    if not (count.isascii() and count.isdigit() and int(count) > 0):
        raise ValueError(f"N, the number of workers, must be at least 1, got {count!r}")
    if rest[:1] == ["--"]:
        del rest[0]
    if not rest or rest[0] not in COMMANDS:
        given = repr(rest[0]) if rest else "nothing"
        raise ValueError(f"N must be followed by -- train and its flags, got {given}")
    return int(count), ["-m", f"trainlib.cli.{rest[0]}", *rest[1:]]


def launch(count: int, arguments: Sequence[str]) -> int:
    """Starts so many workers and waits for their end.

    Args:
        count: how many.
        arguments: of Python, in each.

    Returns:
        The status of the first to fail; 0 where none does.
    """
    caught: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        caught.append(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    workers: list[subprocess.Popen[str]] = []
    try:
        for index, task in enumerate(tasks(free_ports(count))):
            workers.append(_start(index, task, arguments))
        readers = [_relay(index, worker) for index, worker in enumerate(workers) if index]
        status = _wait(workers, caught)
        for reader in readers:
            reader.join(STOPS_WITHIN)
        return status
    finally:
        for worker in workers:
            worker.kill()
        for number, handler in before.items():
            signal.signal(number, handler)


def free_ports(count: int) -> list[int]:
    """Ports of this machine that nobody listens at."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def tasks(ports: Sequence[int]) -> list[str]:
    """The TF_CONFIG of each worker."""
    cluster = {"worker": [f"127.0.0.1:{port}" for port in ports]}
    return [
        json.dumps({"cluster": cluster, "task": {"type": "worker", "index": index}})
        for index in range(len(ports))
    ]


def _start(index: int, task: str, arguments: Sequence[str]) -> subprocess.Popen[str]:
    """A worker; in a session of its own, so that Ctrl-C reaches it once, from here."""
    own = str(Path(trainlib.__file__).parents[1])
    path = os.pathsep.join(filter(None, (own, os.environ.get("PYTHONPATH"))))
    return subprocess.Popen(
        [sys.executable, *arguments],
        env={**os.environ, VARIABLE: task, "PYTHONPATH": path},
        stdout=subprocess.DEVNULL if index else None,
        stderr=subprocess.PIPE if index else None,
        text=True,
        start_new_session=True,
    )


def _relay(index: int, worker: subprocess.Popen[str]) -> threading.Thread:
    """Puts a worker's number before each line of its errors."""

    def read() -> None:
        stream: Any = worker.stderr
        for line in stream:
            print(f"worker {index}: {line.rstrip()}", file=sys.stderr, flush=True)

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    return thread


def _wait(workers: Sequence[subprocess.Popen[str]], caught: list[int]) -> int:
    """Waits for all, handing on the signals caught; the first status that is not 0."""
    status, until, handed = 0, float("inf"), 0
    while running := [worker for worker in workers if worker.poll() is None]:
        failed = [worker.returncode for worker in workers if worker.returncode]
        for number in caught[handed:]:
            for worker in running:
                worker.send_signal(number)
        if (failed or len(caught) > handed) and until == float("inf"):
            until = time.monotonic() + STOPS_WITHIN
        handed = len(caught)
        status = status or _as_status(failed)
        if time.monotonic() > until:
            for worker in running:
                worker.kill()
            until = float("inf")
        time.sleep(PAUSE)
    status = status or _as_status([worker.returncode for worker in workers if worker.returncode])
    return status or (128 + caught[0] if caught else 0)


def _as_status(codes: Sequence[int]) -> int:
    """The first status as a shell tells it; one that a signal ended goes before what follows."""
    signals = [128 - code for code in codes if code < 0]
    return (signals or [*codes, 0])[0]


if __name__ == "__main__":
    main()
