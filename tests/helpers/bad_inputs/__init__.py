"""A generator of bad inputs: command lines, and files, that a command refuses.

Whether an input is bad follows from what is declared (types, ranges, choices), from the format of a
file, or from what two flags say of each other: never from what a command does with it.

cases: the type of a case, and its files.
declared: flags with values that their declarations do not allow.
flags: flags of all commands with values that cannot be, and pairs of flags that contradict.
files: damaged and odd files of data and models.
runs: damaged run folders, flag files and resumed runs.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from helpers.bad_inputs import declared, files, flags, runs
from helpers.bad_inputs.cases import Case

__all__ = ["Case", "all_cases"]


def all_cases() -> Iterator[Case]:
    """Yield every case, each name once."""
    found = itertools.chain(flags.cases(), files.cases(), runs.cases(), declared.cases())
    yield from {case.name: case for case in found}.values()
