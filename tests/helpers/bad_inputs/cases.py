"""A case: a command line that is refused, and the files that it needs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeAlias

Files: TypeAlias = Callable[[Path], object]
"""Writes files into the working directory of a command."""

SMALL = ("--train_examples=64", "--hidden=4", "--epochs=1", "--execution=graph", "--noreport")
"""Flags of a run of one second, where a run is not refused."""


def nothing(folder: Path) -> None:
    """Write no files."""


class Case(NamedTuple):
    """A command line that is refused.

    Attributes:
        name: a unique name.
        command: the command.
        arguments: its arguments.
        says: texts of which the message has at least one: the flag or the file.
        files: writes the files that it needs.
        status: the exit status.
        sets_aside: whether damaged checkpoints are renamed, with a line about each.
    """

    name: str
    command: str
    arguments: tuple[str, ...]
    says: tuple[str, ...]
    files: Files = nothing
    status: int = 2
    sets_aside: bool = False


def train(
    name: str,
    says: str | tuple[str, ...],
    *flags: str,
    files: Files = nothing,
    status: int = 2,
) -> Case:
    """Return a case of `train`, on a small run."""
    given = {flag.partition("=")[0] for flag in flags}
    given |= {"--train_examples"} if "--dataset" in given else set()
    given |= {"--hidden"} if "--model" in given else set()
    small = [flag for flag in SMALL if flag.partition("=")[0] not in given]
    says = (says,) if isinstance(says, str) else says
    return Case(f"train {name}", "train", (*small, *flags), says, files, status)
