"""BUILD.md names files that exist."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "BUILD.md").read_text(encoding="utf-8")
PATHS = sorted(
    path
    for path in set(re.findall(r"`((?:\w+/)+(?:\w+\.\w+)?|\w+\.py)`", TEXT))
    if path != "checkpoints/" and "NAME" not in path
)
SHORT = {
    "model_building.py",
    "objective_building.py",
    "optimization.py",
    "class_losses.py",
    "decay.py",
    "sgd.py",
}
"""Named within a sentence about their folder."""


def test_build_names_files():
    assert len(PATHS) > 40


def exists(path):
    """Whether there is a file or folder of this path, or within trainlib of this name."""
    if path in SHORT:
        return any((ROOT / "trainlib").rglob(path))
    return (ROOT / path).exists() or (ROOT / "trainlib" / path).exists()


def test_each_path_in_build_exists():
    assert [path for path in PATHS if not exists(path)] == []
