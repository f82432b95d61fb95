"""`trainlib list`: names in a table."""

from __future__ import annotations

import pytest

from trainlib.cli.list import kinds
from trainlib.registry import OPTIMIZERS


def test_each_name_has_a_line(command):
    done = command("list", "optimizers")
    assert (done.status, done.err) == (0, "")
    head, *lines = done.out.splitlines()
    assert head.split() == ["optimizers", "description"]
    assert [line.split()[0] for line in lines] == list(OPTIMIZERS)
    assert all(len(line.split()) > 2 for line in lines), "each says what it is"


def test_several_kinds_are_several_tables(command):
    out = command("list", "models", "datasets").out
    models, datasets = out.split("\n\n")
    assert "\nmlp " in models and "\ndigits " in datasets


def test_without_a_kind_the_kinds_are_shown(command):
    lines = command("list").out.splitlines()[1:]
    assert [line.split()[0] for line in lines] == list(kinds())


def test_an_unknown_kind_is_refused(command):
    done = command("list", "optimisers")
    assert (done.status, done.out) == (2, "")
    assert done.err.startswith("list: ") and "optimizers" in done.err


@pytest.mark.parametrize("kind", kinds())
def test_every_name_says_what_it_is(kind, command):
    for line in command("list", kind).out.splitlines()[1:]:
        assert len(line.split(None, 1)) == 2, line
