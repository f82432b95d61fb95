"""The page on speed has the tables of the figures that it names."""

from __future__ import annotations

import runpy
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


def test_the_page_is_current(monkeypatch):
    monkeypatch.syspath_prepend(str(DOCS.parent / "benchmarks"))
    written = runpy.run_path(str(DOCS / "speed.py"))["page"]()
    assert (DOCS / "speed.md").read_text(encoding="utf-8") == written
    assert "{{" not in written
