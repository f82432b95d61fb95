"""The script of a process that runs jobs; `jobs.py` starts it with the descriptor of a connection.

It reads pickled messages: first the function and `make_state`, then the argument of each job, to
which it sends the result. It imports only what these need, so that it starts quickly.
"""

from __future__ import annotations

import functools
import os
import pickle
import queue
import sys
import threading
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any


def attempt(function: Callable[[], Any]) -> tuple[Any, tuple[str, str, str] | None]:
    """Return the value of a function and None, or None and its error: type, message, traceback."""
    try:
        return function(), None
    except (Exception, SystemExit) as error:
        message = " ".join(str(error).split())
        return None, (type(error).__name__, message, traceback.format_exc())


def main() -> None:
    """Run jobs until the connection is closed."""
    folder = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [x for x in sys.path if x != folder]  # this script's folder shadows modules
    connection = Connection(int(sys.argv[1]))
    messages: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(connection, messages), daemon=True).start()
    functions = messages.get()
    state: list[Any] = []

    def run(argument: bytes) -> Any:
        function, make_state = pickle.loads(functions)
        if not state:
            state.append(make_state())
        return function(state[0], pickle.loads(argument))

    while True:
        connection.send_bytes(_pickled(attempt(functools.partial(run, messages.get()))))


def _receive(connection: Connection, messages: queue.SimpleQueue[bytes]) -> None:
    """Receive messages in a thread, so that the process ends together with its parent."""
    try:
        while True:
            messages.put(connection.recv_bytes())
    except (EOFError, OSError):
        os._exit(0)


def _pickled(result: tuple[Any, Any]) -> bytes:
    """Return a result as bytes; a result that cannot be pickled becomes a failure."""
    pickled, error = attempt(lambda: pickle.dumps(result))
    return pickle.dumps((None, error)) if pickled is None else pickled


if __name__ == "__main__":
    main()
