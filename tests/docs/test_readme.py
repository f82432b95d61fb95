"""README.md's tables of verification are those of `verify`, and list every function."""

from __future__ import annotations

import importlib
import json
import re
from pathlib import Path

import pytest
from helpers.reference import REFERENCE

from trainlib.registry import KINDS, OPTIMIZERS
from trainlib.verify.function_cases import CASES as FUNCTION_CASES
from trainlib.verify.optimizer_cases import CASES
from trainlib.verify.peers import PEERS

ROOT = Path(__file__).parents[2]


def table(path, column="optimizer"):
    """The cells of the first table that begins with a column."""
    text = (ROOT / path).read_text(encoding="utf-8")
    rows = re.search(rf"^\| {column} \| [^\n]*\n\| ---.*?(?=\n\n)", text, re.M | re.DOTALL)
    cells = [[cell.strip() for cell in row.split("|")[1:-1]] for row in rows[0].splitlines()]
    return {optimizer: row for optimizer, *row in cells[2:]}


@pytest.mark.parametrize("column", ["kind", "optimizer"])
def test_the_tables_are_those_that_verify_wrote(column):
    assert table("README.md", column) == table("docs/verification.md", column)


def test_the_page_of_verification_says_when_how_and_with_what_it_was_made():
    command = "verify --kind=all --dtype=float64 --steps=200 --output=docs/verification"
    second = (ROOT / "docs/verification.md").read_text(encoding="utf-8").splitlines()[2]
    versions = r"trainlib [\d.]+ \(Python [\d.]+, .*tensorflow [\d.]+, keras [\d.]+, .*\)"
    assert re.fullmatch(rf"Written on [\d-]+ by `{command}`, with {versions}\.", second)


@pytest.mark.parametrize("kind", KINDS)
def test_every_name_is_verified_and_counted(kind):
    names, forms, *_ = table("README.md", "kind")[kind]
    cases = [case for case in FUNCTION_CASES if case.kind == kind]
    cases = cases or CASES
    assert int(forms) == len(cases)
    assert int(names) == len(KINDS[kind])
    assert set(table("docs/verification.md", kind)) == set(KINDS[kind])


def test_every_schedule_has_its_curve():
    reference = REFERENCE.pages()["reference/schedules.md"]
    for name in ("gallery", *KINDS["schedule"]):
        assert f"](../schedules/{name}.svg)" in reference
        assert (ROOT / f"docs/schedules/{name}.svg").read_text(encoding="utf-8").endswith("svg>\n")


def test_every_optimizer_is_compared_with_every_peer_that_has_it():
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


def test_the_tables_of_speed_are_those_that_the_benchmark_wrote(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    report = importlib.import_module("report")
    found = json.loads((ROOT / "docs/speed.json").read_text(encoding="utf-8"))
    written = report.markdown(found)
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for column in ("training", "evaluation"):
        rows = re.search(rf"^\| {column} \|.*?(?=\n\n)", written, re.M | re.DOTALL)[0]
        assert rows in readme
