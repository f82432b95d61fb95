"""Data sets of the user, as flags that name them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.experiments import LABELS, ROWS, write_table


@pytest.fixture
def dataset(tmp_path: Path) -> Callable[..., str]:
    """`dataset(x=..., y=...)`: write these arrays, and return the flag for them."""

    def write(**arrays: Any) -> str:
        np.savez(tmp_path / "own.npz", **arrays)
        return f"--dataset={tmp_path / 'own.npz'}"

    return write


@pytest.fixture
def table(tmp_path: Path) -> Callable[..., str]:
    """`table("a", "price")`: write a table of these columns, and return the flag for it.

    "class" holds integers, "price" numbers, "w" numbers above 0; the last column is the target.
    """

    def write(*columns: str) -> str:
        values = {"a": ROWS[:, 0], "b": ROWS[:, 1], "class": LABELS, "price": ROWS.sum(1)}
        values["w"] = 1 + ROWS[:, 0] ** 2
        write_table(tmp_path / "own.csv", **{name: values[name] for name in columns})
        return f"--dataset={tmp_path / 'own.csv'}"

    return write
