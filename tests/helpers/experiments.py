"""Experiments as flags, and small ones that train within a second."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

import trainlib as tl

ROWS = np.random.default_rng(0).normal([5.0, -3.0], [2.0, 0.5], (40, 2))
"""Forty examples of two columns."""
LABELS = np.arange(40) % 3
"""Their classes."""

QUICK = (
    "--train_examples=64",
    "--validation_split=0",
    "--hidden=8",
    "--epochs=1",
    "--learning_rate=0.01",
    "--execution=graph",
    "--noreport",
)
"""Two steps of a small net."""

RUN_FILES = {
    "checkpoints",
    "config.json",
    "flags.txt",
    "metrics.csv",
    "metrics.jsonl",
    "model.keras",
    "summary.json",
}
"""The contents of the folder of a finished run without a report."""


def experiment(*flags: str) -> tl.ExperimentConfig:
    """Return the configuration that flags of `train` describe."""
    return tl.ExperimentConfig.from_flags("\n".join(flags))


def write_table(path: Path, **columns: Any) -> None:
    """Write a .csv of these columns."""
    lines = [columns, *zip(*columns.values(), strict=True)]
    path.write_text("".join(",".join(map(str, line)) + "\n" for line in lines))
