"""The end of a process in which no Python code runs: a line on stderr, and an exit status.

TensorFlow's servers hold the interpreter's lock while they look for each other. A handler in Python
would be called after that only, so that a second process keeps the time, prints the line, and ends
the first one by a signal whose handler is the C function `_exit`.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Iterator

_CODE = """
import os, select, sys
if not select.select([0], [], [], float(sys.argv[1]))[0]:
    os.write(2, sys.argv[2].encode() + b"\\n")
    os.kill(int(sys.argv[3]), int(sys.argv[4]))
"""


@contextlib.contextmanager
def ended_after(seconds: float, line: str) -> Iterator[None]:
    """End this process with status 3 if the block does not end in time, whatever it does.

    Args:
        seconds: the time.
        line: printed on stderr.
    """
    arguments = [str(seconds), line, str(os.getpid()), str(int(signal.SIGQUIT))]
    with (
        _exits_at_quit(),
        subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _CODE, *arguments], stdin=subprocess.PIPE
        ) as keeper,
    ):
        yield
        keeper.kill()


@contextlib.contextmanager
def _exits_at_quit() -> Iterator[None]:
    """Let SIGQUIT call `_exit`, which gets the number of the signal, 3, as the exit status."""
    libc = ctypes.CDLL(None)
    libc.signal.argtypes, libc.signal.restype = [ctypes.c_int, ctypes.c_void_p], ctypes.c_void_p
    before = libc.signal(signal.SIGQUIT, ctypes.cast(libc._exit, ctypes.c_void_p))
    try:
        yield
    finally:
        libc.signal(signal.SIGQUIT, before)
