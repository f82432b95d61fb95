"""Declarations of hyperparameters: ranges, and the line of help made of a declaration."""

from __future__ import annotations

import pytest

from trainlib.core.hyperparameters import DECLARED, TYPES, Range, declared
from trainlib.core.hyperparameters.declaration import (
    DECAY,
    FRACTION,
    NON_NEGATIVE,
    POSITIVE,
    UNBOUNDED,
    Declaration,
    choice,
    integer,
    number,
    switch,
)


@pytest.mark.parametrize(
    ("allowed", "inside", "outside", "text"),
    [
        (UNBOUNDED, [-1e9, 0, 1e9], [float("inf"), float("nan"), "1", None], ""),
        (NON_NEGATIVE, [0, 1], [-1], "at least 0"),
        (POSITIVE, [1e-9], [0], "above 0"),
        (DECAY, [0, 0.999], [-0.1, 1], "in [0, 1)"),
        (FRACTION, [0, 1], [1.001], "in [0, 1]"),
        (Range(above=0, at_most=1), [1], [0], "in (0, 1]"),
        (Range(above=0, below=1), [0.5], [0, 1], "in (0, 1)"),
        (Range(at_most=0), [-3], [1], "at most 0"),
        (Range(below=0.5), [0.25], [0.5], "below 0.5"),
    ],
)
def test_a_range_holds_its_numbers_and_reads_as_text(allowed, inside, outside, text):
    assert all(x in allowed for x in inside)
    assert not any(x in allowed for x in outside)
    assert str(allowed) == text


@pytest.mark.parametrize(
    ("declaration", "type_", "line"),
    [
        (number("decay rate", DECAY), "float", "decay rate, in [0, 1)"),
        (integer("length", POSITIVE, "steps"), "int", "length, in steps, above 0"),
        (switch("use it"), "bool", "use it"),
        (choice("form", "a", "b"), "str", "form: a, b"),
        (Declaration("ints", "widths"), "ints", "widths"),
    ],
)
def test_a_declaration_has_one_line_of_help(declaration, type_, line):
    assert (declaration.type, declaration.help) == (type_, line)


def test_a_factorys_own_declaration_comes_before_that_of_its_kind():
    assert declared("optimizer", "lion", "beta_1").range == FRACTION
    assert declared("optimizer", "adam", "beta_1").range == DECAY
    assert declared("optimizer", "adam", "hidden") is None


@pytest.mark.parametrize("kind", DECLARED)
def test_declared_types_are_known(kind):
    assert {declaration.type for declaration in DECLARED[kind].values()} <= set(TYPES)
