"""A process in which no Python code runs ends with a line and a status."""

from __future__ import annotations

from helpers.processes import run_python

CODE = """
import ctypes, time
from trainlib.cli.distributed.watchdog import watchdog
with watchdog(30, "never"):
    pass
start = time.monotonic()
with watchdog(0.3, "the servers did not start"):
    ctypes.PyDLL(None).sleep(20)  # holds the lock of the interpreter
"""


def test_a_process_that_holds_the_interpreters_lock_ends_in_time_with_a_line():
    done = run_python("-c", CODE, timeout=15)
    assert (done.returncode, done.stderr) == (3, "the servers did not start\n")
