"""The page on augmentation has every augmentation, with its values and its source."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from trainlib.augmentation import AUGMENTATIONS
from trainlib.registry import hyperparameters

pytest.importorskip("matplotlib")
DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "augmentation.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def script():
    return runpy.run_path(str(DOCS / "augmentation.py"))


def test_the_page_is_current(script):
    assert script["page"]() == PAGE


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_every_augmentation_has_a_row_with_its_source(name):
    written = f"| `{name}={':'.join(hyperparameters(AUGMENTATIONS[name]))}` |"
    (row,) = [line for line in PAGE.splitlines() if line.startswith(written)]
    source = row.split("|")[-2]
    assert "keras.layers" in source or "20" in source


def test_the_sheet_shows_every_augmentation_of_gray_images(script):
    assert {*script["EXAMPLES"], "saturation"} == set(AUGMENTATIONS)
