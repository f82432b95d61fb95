"""A watchdog: it ends this process if a block of code does not finish in time.

TensorFlow's servers hold the interpreter's lock while they look for each other, so that no Python
code of this process can run, not even a signal handler. The watchdog is a second process. It ends
this one by a signal whose handler is the C function `_exit`.
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
def watchdog(seconds: float, message: str) -> Iterator[None]:
    """End this process with status 3 if the block takes too long, whatever code it runs.

    Args:
        seconds: time that the block may take.
        message: line printed on stderr before the process ends.
    """
    arguments = [str(seconds), message, str(os.getpid()), str(int(signal.SIGQUIT))]
    with (
        _exit_on_sigquit(),
        subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _CODE, *arguments], stdin=subprocess.PIPE
        ) as process,
    ):
        yield
        process.kill()


@contextlib.contextmanager
def _exit_on_sigquit() -> Iterator[None]:
    """Let SIGQUIT call `_exit`, which gets the number of the signal, 3, as the exit status."""
    libc = ctypes.CDLL(None)
    libc.signal.argtypes, libc.signal.restype = [ctypes.c_int, ctypes.c_void_p], ctypes.c_void_p
    before = libc.signal(signal.SIGQUIT, ctypes.cast(libc._exit, ctypes.c_void_p))
    try:
        yield
    finally:
        libc.signal(signal.SIGQUIT, before)
