"""How a process is ended."""

from __future__ import annotations

import subprocess
import sys

from helpers.processes import environment


def test_a_process_ends_immediately_with_its_output_written():
    code = (
        "import atexit; from trainlib.cli.process_exit import exit_immediately\n"
        "atexit.register(print, 'never'); print('line'); exit_immediately(7)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (7, "line\n", "")
