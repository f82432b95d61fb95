"""`train` in several processes, and what their run leaves."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from helpers.forked import ForkedPython
from helpers.processes import run_python, started_python
from trainlib.cli.launch_local import free_ports, tf_configs

QUICK = (
    "--train_examples=100",
    "--hidden=8",
    "--epochs=2",
    "--precision=float64",
    "--execution=graph",
    "--run_dir=run",
    "--report=false",
)
"""Flags of a short run in the folder `run`."""


def run_module(
    folder: Path, module: str, *arguments: str, **variables: str
) -> tuple[int, str, str]:
    """Make a folder and run a command in it; return its status, stdout and stderr."""
    folder.mkdir()
    options: dict[str, Any] = {"cwd": folder, "timeout": 300, **variables}
    done = run_python("-m", f"trainlib.cli.{module}", *arguments, **options)
    return done.returncode, done.stdout, done.stderr


@contextlib.contextmanager
def started_workers(folder: Path, *flags: tuple[str, ...]) -> Iterator[list[ForkedPython]]:
    """Start a worker of `train` in a folder for each list of flags; kill them at the end."""
    configs = tf_configs(free_ports(len(flags)))
    with contextlib.ExitStack() as stack:
        yield [
            stack.enter_context(
                started_python("-m", "trainlib.cli.train", *own, cwd=folder, TF_CONFIG=config)
            )
            for own, config in zip(flags, configs, strict=True)
        ]


def history(folder: Path) -> list[dict[str, Any]]:
    """Return the results of each epoch of the run in `folder/run`, without the times."""
    lines = (folder / "run" / "metrics.jsonl").read_text().splitlines()
    return [{k: x for k, x in json.loads(line).items() if k != "seconds"} for line in lines]
