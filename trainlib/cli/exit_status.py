"""The exit statuses of the commands. Imports nothing that takes time: `start` needs them first."""

from __future__ import annotations

import signal
from collections.abc import Mapping

FAILED = 1
"""Any error that no other status covers."""
BAD_INPUT = 2
"""A flag, an argument or a file that is not valid."""
WORKER_LOST = 3
"""Another worker of a multi-worker run did not connect, or ended early."""
STOPPED = 75
"""Stopped by SIGTERM or --stop_after: resume the run, or start the command again."""
INTERRUPTED = 130
"""Interrupted by Ctrl-C."""

OF_SIGNAL: Mapping[int, int] = {signal.SIGINT: INTERRUPTED, signal.SIGTERM: STOPPED}
"""The exit status of a command that a signal ends, by the number of the signal."""
