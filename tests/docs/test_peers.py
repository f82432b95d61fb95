"""The page on failures of other libraries is what its script makes of the results."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

PEERS = Path(__file__).parents[2] / "docs" / "peers"
RUN = runpy.run_path(str(PEERS / "run.py"))
FOUND = json.loads((PEERS.parent / "peers.json").read_text(encoding="utf-8"))


def test_the_page_is_current():
    page = runpy.run_path(str(PEERS / "page.py"))
    assert page["page"]() == (PEERS.parent / "peers.md").read_text(encoding="utf-8")


def test_every_reproduction_was_run_and_has_a_note():
    titles = [title for file in RUN["FILES"] for title in RUN["titles"](file)]
    assert [result[1] for result in FOUND["results"]] == titles
    assert all(got and right and got != right for _, _, got, right in FOUND["results"])
    assert set(runpy.run_path(str(PEERS / "notes.py"))["NOTES"]) == set(titles)


@pytest.mark.soak
@pytest.mark.parametrize("word", ["first batch", "integer", "bfloat16", "OneCycle", "rprop"])
def test_a_reproduction_gives_its_result(word):
    (expected,) = [result for result in FOUND["results"] if word in result[1]]
    if expected[0] == "torch_optax":
        pytest.importorskip("torch")
        pytest.importorskip("optax")
    done = subprocess.run(
        [sys.executable, PEERS / "run.py", word], capture_output=True, text=True, timeout=300
    )
    assert done.stdout == f"{expected[1]}\n    got    {expected[2]}\n    right  {expected[3]}\n"
