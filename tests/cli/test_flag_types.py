"""Flags of each type: what they hold, how they are written back, and what they refuse."""

from __future__ import annotations

import pytest
from absl import flags
from helpers.commands import define_toy, raising

from trainlib.cli.flag_types import each_flag, format_value


def parse(*arguments):
    """The flags of the toy command, given these arguments."""
    values = flags.FlagValues()
    define_toy(values)
    values(["toy", *arguments])
    return values


@pytest.mark.parametrize(
    ("name", "argument", "expected"),
    [
        ("name", "--name=Ada", "Ada"),
        ("name", "--name=", ""),
        ("count", "--count=-3", -3),
        ("rate", "--rate=1e-3", 0.001),
        ("loud", "--loud", True),
        ("loud", "--noloud", False),
        ("sizes", "--sizes=3", [3]),
        ("sizes", "--sizes=300,100", [300, 100]),
        ("sizes", "--sizes=", []),
        ("mood", "--mood=bad", "bad"),
        ("weights", "--weights=0.5,-1e3", [0.5, -1000.0]),
        ("words", "--words=a, b", ["a", "b"]),
        ("speed", "--speed=auto", "auto"),
        ("speed", "--speed=2", 2.0),
    ],
)
def test_a_flag_holds_what_is_given_and_writes_it_back(name, argument, expected):
    values = parse(argument)
    assert values[name].value == expected
    assert type(values[name].value) is type(expected)
    assert parse(values[name].serialize())[name].value == expected


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("--count=x", "flag --count=x: 'x' is not an integer"),
        ("--count=1.5", "flag --count=1.5: '1.5' is not an integer"),
        ("--count=", "flag --count=: '' is not an integer"),
        ("--rate=fast", "flag --rate=fast: 'fast' is not a number"),
        ("--loud=maybe", "flag --loud=maybe: 'maybe' is neither true nor false"),
        ("--sizes=3,,4", "flag --sizes=3,,4: '3,,4' is not comma-separated integers"),
        ("--weights=3,x", "flag --weights=3,x: '3,x' is not comma-separated numbers"),
        ("--speed=fast", "flag --speed=fast: 'fast' is neither a number nor 'auto'"),
        ("--mood=ugly", "flag --mood=ugly: choose from good, bad"),
    ],
)
def test_a_value_of_another_type_gets_one_line_and_status_2_before_any_work(argument, message, toy):
    assert toy(argument, work=raising(AssertionError())) == (2, "", f"toy: {message}\n")


def test_flags_are_listed_in_the_order_of_their_definition():
    names = [flag.name for flag in each_flag(parse())]
    assert names == ("name greeting count rate loud sizes mood weights words speed depth".split())


@pytest.mark.parametrize(
    ("value", "text"), [([300, 100], "300,100"), ((0.5,), "0.5"), ("word", "word"), (1e-7, "1e-07")]
)
def test_a_value_is_formatted_as_a_command_has_it(value, text):
    assert format_value(value) == text
