"""README.md's table of the proof is that of `verify`, and speaks of every optimizer."""

from __future__ import annotations

import re
from pathlib import Path

from trainlib.registry import OPTIMIZERS
from trainlib.verify.cases import CASES
from trainlib.verify.peers import PEERS

ROOT = Path(__file__).parents[2]


def table(path):
    """The cells of the first table that begins with the column `optimizer`."""
    text = (ROOT / path).read_text(encoding="utf-8")
    rows = re.search(r"^\| optimizer \| keras .*?(?=\n\n)", text, re.MULTILINE | re.DOTALL)
    cells = [[cell.strip() for cell in row.split("|")[1:-1]] for row in rows[0].splitlines()]
    return {optimizer: row for optimizer, *row in cells[2:]}


def test_the_table_is_the_one_that_verify_wrote():
    assert table("README.md") == table("docs/verification.md")


def test_every_optimizer_is_held_to_every_peer_that_has_it():
    rows = table("README.md")
    assert set(rows) == set(OPTIMIZERS)
    for optimizer, cells in rows.items():
        for peer, cell in zip(PEERS, cells, strict=True):
            forms = [c.form for c in CASES if c.optimizer == optimizer and peer in c.peers]
            if not forms:
                assert cell == ""
                continue
            assert float(cell.split()[0]) <= 1e-12
            assert cell.endswith(f"({len(forms)} forms)") or len(forms) == 1
