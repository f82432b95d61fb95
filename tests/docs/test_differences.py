"""The tables of sizes on the pages of concepts are those that their script measures."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
NEEDS_PEERS = ("clipping", "losses")


@pytest.fixture(scope="module")
def script():
    return runpy.run_path(str(DOCS / "differences.py"))


def test_every_table_is_in_its_page(script):
    for name in script["TABLES"]:
        assert script["written"](name).startswith("| ")


def test_schedules_are_measured_as_their_page_says(script):
    assert script["table"]("schedules") == script["written"]("schedules")


def test_forms_of_one_rule_have_no_difference(script):
    trajectory, tl = script["trajectory"], script["tl"]
    forms = [trajectory(tl.sgd(0.01, convention=name)) for name in ("keras", "torch")]
    assert script["difference"](*forms) < 1e-13
    far = trajectory(tl.sgd(0.005))
    assert 0.1 < script["difference"](forms[0], far) < 1


@pytest.mark.soak
@pytest.mark.parametrize("name", ["optimizers", "decay", *NEEDS_PEERS])
def test_the_sizes_are_measured_as_their_page_says(name, script):
    if name in NEEDS_PEERS:
        for package in ("torch", "optax"):
            pytest.importorskip(package)
    assert script["table"](name) == script["written"](name)
