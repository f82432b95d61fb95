"""Search spaces: from text and mappings, and back without loss."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainlib.experiment.search.space import Choices, Condition, Parameter, Range
from trainlib.experiment.search.space_text import parse_space


def test_a_text_with_each_distribution_is_read():
    space = parse_space(
        "learning_rate=log(3e-4,3e-2); depth=int(0,3);\n batch_size = int(16, 64, step=16);"
        "--dropout=uniform(0,0.5,0.1); width=logint(1,100) if depth = 1|2|3; optimizer={sgd, nadam}"
    )
    assert space.parameters == (
        Parameter("learning_rate", Range("log", 3e-4, 3e-2)),
        Parameter("depth", Range("int", 0, 3)),
        Parameter("batch_size", Range("int", 16, 64, 16)),
        Parameter("dropout", Range("uniform", 0.0, 0.5, 0.1)),
        Parameter("width", Range("logint", 1, 100), Condition("depth", ("1", "2", "3"))),
        Parameter("optimizer", Choices(("sgd", "nadam"))),
    )


def test_parentheses_hold_values_with_commas():
    space = parse_space("hidden={(300,100),50,()}; augment={none,(flip=horizontal,zoom=0.1)}")
    assert space.parameters[0].distribution == Choices(("300,100", "50", ""))
    assert space.parameters[1].distribution == Choices(("none", "flip=horizontal,zoom=0.1"))


def test_a_mapping_takes_distributions_and_python_values():
    hidden = [(300, 100), (50,)]
    given = {"learning_rate": "log(1e-3,1e-1)", "hidden": hidden, "clipnorm": [None, 1]}
    text = "learning_rate=log(1e-3,1e-1); hidden={(300,100),50}; clipnorm={none,1}"
    assert parse_space(given) == parse_space(text)


def test_a_parameter_comes_after_the_one_that_its_condition_names():
    space = parse_space("momentum=uniform(0,0.9) if optimizer=sgd; optimizer={sgd,adam}")
    assert [parameter.name for parameter in space.parameters] == ["optimizer", "momentum"]


NUMBERS = st.floats(1e-300, 1e300)
VALUES = st.lists(st.text("ab,;|{ }=.-1"), min_size=1, max_size=4, unique=True)
RANGES = st.tuples(st.sampled_from(["log", "uniform"]), NUMBERS, NUMBERS).filter(
    lambda x: x[1] < x[2]
)


@pytest.mark.examples
@given(VALUES.map(lambda x: Choices(tuple(x))), RANGES.map(lambda x: Range(*x)))
def test_the_text_of_a_space_makes_it_again(choices, numbers):
    space = parse_space({"first": choices, "second": numbers})
    assert [x.distribution for x in space.parameters] == [choices, numbers]
    assert parse_space(str(space)) == space


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "search is empty"),
        ("depth", "character 1, 'depth': write NAME=DISTRIBUTION"),
        ("depth=int(0,3); lr", "character 17, 'lr'"),
        ("depth=int(0,3", "character 10, '(0,3': '(' is not closed"),
        ("depth=ints(0,3)", "there is no distribution 'ints': choose from log(LOW,HIGH)"),
        ("depth=int(0,3.5)", "give integers"),
        ("rate=log(0,1)", "must begin above 0"),
        ("rate=uniform(2,1)", "the lower bound must be below the upper"),
        ("rate=log(1,2,3)", "write log(LOW,HIGH)"),
        ("rate=uniform(0,inf)", "bounds must be finite"),
        ("rate=uniform(0,1,0.3)", "steps of 0.3 from 0.0 do not reach 1.0: end at 0.9"),
        ("rate=uniform(0,1,-1)", "the step must be above 0"),
        ("optimizer={}", "the braces are empty"),
        ("optimizer={sgd,sgd}", "a value is there twice"),
        ("depth=int(0,3); depth={1}", "depth is there twice"),
        ("depth=int(0,3) when x", "character 16, 'when x': after a distribution"),
        ("depth=int(0,3) if x=1", "names x, which is not searched; choose from depth"),
        ("a={1} if b=1; b={1} if a=1", "the conditions of a and b"),
    ],
)
def test_an_error_names_the_place_and_the_next_step(text, message):
    with pytest.raises(ValueError, match="search") as caught:
        parse_space(text)
    assert message in str(caught.value)


def test_other_values_than_text_and_mappings_are_refused():
    with pytest.raises(TypeError, match="must be text or a mapping"):
        parse_space(3)
    with pytest.raises(TypeError, match="depth must be a distribution or a list"):
        parse_space({"depth": 3})
