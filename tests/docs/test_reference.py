"""The reference says what the code says."""

from __future__ import annotations

import runpy
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


def test_reference_is_current():
    page = runpy.run_path(str(DOCS / "reference.py"))["reference"]()
    assert (DOCS / "reference.md").read_text(encoding="utf-8") == page
