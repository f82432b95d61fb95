"""Python in a separate process, which starts with TensorFlow loaded.

A process sees the environment of a user: no variable of TensorFlow (`TF_*`) but those given.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from helpers.forked import ForkedPython

ROOT = Path(__file__).parents[2]
"""The folder of the repository."""


def environment(**changes: str) -> dict[str, str]:
    """Return this process's variables without TensorFlow's, with `trainlib` on the path."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TF_")}
    path = os.pathsep.join(filter(None, [str(ROOT), kept.get("PYTHONPATH")]))
    return kept | {"PYTHONPATH": path} | changes


def run_python(
    *arguments: str | os.PathLike[str],
    cwd: str | os.PathLike[str] | None = None,
    timeout: float = 300,
    **variables: str,
) -> subprocess.CompletedProcess[str]:
    """Run `python ARGUMENTS` to its end.

    Args:
        arguments: of the interpreter: `"-m", "trainlib.cli.train", "--epochs=1"`.
        cwd: the working directory.
        timeout: in seconds.
        **variables: added to the environment.

    Returns:
        The exit status, standard output and standard error, as text.
    """
    with ForkedPython(arguments, cwd, environment(**variables)) as process:
        try:
            out, err = process.communicate(timeout)
        finally:
            process.kill()
        return subprocess.CompletedProcess([*arguments], process.wait(), out, err)


def output_of(*arguments: str | os.PathLike[str], **options: Any) -> str:
    """Return the standard output of `run_python`, after asserting that it succeeds."""
    done = run_python(*arguments, **options)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@contextlib.contextmanager
def started_python(
    *arguments: str | os.PathLike[str],
    cwd: str | os.PathLike[str] | None = None,
    **variables: str,
) -> Iterator[ForkedPython]:
    """Start `python ARGUMENTS` with its streams piped; kill it at the end of the block."""
    with ForkedPython(arguments, cwd, environment(**variables)) as process:
        try:
            yield process
        finally:
            process.kill()
