"""What scripts that write pages share: commands with what they print."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

SHOWN = 14
"""Maximal number of lines shown for a command: of more, the first and the last ones."""


def block(
    command: str,
    folder: Path,
    kill_after: str | None = None,
    number: signal.Signals = signal.SIGTERM,
    status: int = 0,
) -> str:
    """Run a command in a folder, and return it and what it prints, indented.

    Args:
        command: a line for bash.
        folder: the working directory.
        kill_after: beginning of the line after which the signal is sent. Default: None, none is.
        number: the signal.
        status: the expected exit status. Default: 0.
    """
    lines = []
    process = subprocess.Popen(
        ["bash", "-c", f"exec {command}" if kill_after else command],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"COLUMNS": "100"},
    )
    assert process.stdout is not None
    for line in filter(str.strip, process.stdout):
        lines.append(line)
        if kill_after and line.startswith(kill_after):
            process.send_signal(number)
            lines.append(f"$ kill -{number.name.removeprefix('SIG')} {process.pid}")
            kill_after = None
    found = process.wait()
    if found != status:
        raise SystemExit(f"{command}\n{''.join(lines)}\nended with status {found}")
    if len(lines) > SHOWN:
        lines = [*lines[: SHOWN // 2], "...", *lines[-SHOWN // 2 :]]
    if found:
        lines.append(f"(status {found})")
    return "\n".join(f"    {line}".rstrip() for line in [f"$ {command}", *lines])
