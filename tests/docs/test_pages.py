"""The pages of the tutorial and the guides run from top to bottom, each in an empty folder."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.pages import ROOT, blocks, run_page

PAGES = sorted(
    str(path.relative_to(ROOT))
    for pattern in ("index.md", "tutorial/*", "guides/*", "concepts/*", "migration/*")
    for path in (ROOT / "docs").glob(pattern)
    if path.suffix == ".md" and any(blocks(str(path.relative_to(ROOT))))
)


@pytest.mark.parametrize("page", PAGES)
def test_the_python_of_a_page_compiles(page):
    for _, text in blocks(page, ["python"]):
        compile(text, page, "exec")


@pytest.mark.soak
@pytest.mark.parametrize("page", PAGES)
def test_a_page_runs_from_top_to_bottom(page, tmp_path):
    for package in ("optuna", "sklearn", "tensorboard", "matplotlib"):
        pytest.importorskip(package)
    (tmp_path / "page").mkdir()
    run_page(page, tmp_path / "page")


def test_the_tutorial_lists_its_pages():
    text = Path(ROOT / "docs/tutorial/index.md").read_text(encoding="utf-8")
    assert {f"docs/tutorial/{name}" for name in _linked(text)} == {
        str(path.relative_to(ROOT))
        for path in (ROOT / "docs/tutorial").glob("*.md")
        if path.name != "index.md"
    }


def _linked(text):
    return [part.partition(")")[0] for part in text.split("](")[1:]]
