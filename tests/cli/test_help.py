"""The output of --help, at widths from narrow to wide, and of --help=TOPIC."""

from __future__ import annotations

import os
import re

import pytest
from helpers.commands import TOY_TOPICS, call, raising, run_command, toy_main

WIDTHS = (30, 60, 80, 200)


@pytest.fixture
def columns(monkeypatch):
    """Sets the width of the terminal."""
    return lambda width: monkeypatch.setenv("COLUMNS", str(width))


@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_shows_the_flags_by_group_and_does_no_work(flag, toy, columns):
    columns(80)
    done = toy(flag, work=raising(AssertionError()))
    assert (done.status, done.err) == (0, "")
    toy_part, other_part, common = done.out.split("\n\n")[2:]
    assert done.out.startswith("toy: play.\n\n  toy --count=2\n\nToy:\n")
    assert "  --name=NAME                 Whom to greet.\n" in toy_part
    assert "  --count=INTEGER             How often. Default: 1.\n" in toy_part
    assert "  --[no]loud                  Shout.\n" in toy_part
    assert other_part.startswith("Other:\n  --mood=good|bad             The mood. Default: good.\n")
    assert "  --weights=NUMBERS           How heavy. Default: 0.5,2.0.\n" in other_part
    assert "  --words=WORDS               What to say.\n" in other_part
    assert "  --speed=NUMBER|auto         How fast to go." in other_part
    assert "  --[no]help                  Show this text.\n" in common
    assert "--[no]traceback" in common and "--flagfile=PATH" in common


@pytest.mark.parametrize("width", WIDTHS)
def test_help_fits_the_terminal(width, toy, columns):
    columns(width)
    lines = toy("--help").out.splitlines()
    assert max(map(len, lines)) <= min(max(width, 40), 100)
    if width >= 200:
        assert max(map(len, lines)) > 80


def test_long_texts_keep_their_column(toy, columns):
    columns(80)
    lines = toy("--help").out.splitlines()
    (first,) = [i for i, line in enumerate(lines) if "--greeting" in line]
    assert lines[first + 1].startswith(" " * 30 + "very")


def test_a_narrow_terminal_has_texts_below_their_flags(toy, columns):
    columns(60)
    assert "  --count=INTEGER\n      How often. Default: 1.\n" in toy("--help").out


def test_without_a_terminal_the_width_is_80(toy, monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.setattr("os.get_terminal_size", lambda *_: os.terminal_size((0, 0)))
    lines = toy("--help").out.splitlines()
    assert 60 < max(map(len, lines)) <= 80


def test_hidden_flags_are_left_to_topics(tmp_path, columns):
    columns(80)
    main = toy_main(topics=TOY_TOPICS)
    out = call(main, tmp_path, "toy", "--help").out
    assert "depth:" not in out and "--depth" not in out and "Rare" not in out
    assert out.endswith("\n\n`toy --help=deep` explains the depth.\n")
    assert "--help=NAME shows one topic." in re.sub(r"\s+", " ", out)
    assert call(main, tmp_path, "toy", "--help=deep") == (0, "depth at 80: How deep.\n", "")


def test_an_unknown_topic_is_named(tmp_path, toy):
    done = call(toy_main(topics=TOY_TOPICS), tmp_path, "toy", "--help=deap")
    assert (done.status, done.out) == (2, "")
    assert done.err == "toy: unknown help topic 'deap': did you mean 'deep'?\n"
    done = call(toy_main(topics=TOY_TOPICS), tmp_path, "toy", "--help=x")
    assert done.err == "toy: unknown help topic 'x': choose from water: deep, wide; air: high\n"
    done = toy("--help=deep")
    assert done == (2, "", "toy: --help=deep: this command has no help topics; use --help\n")


def test_a_short_help_has_a_line_for_each_common_flag(tmp_path, columns):
    columns(80)
    main = toy_main(common=("count", "greeting", "mood"))
    out = call(main, tmp_path, "toy", "--help").out
    assert "  --count=INTEGER             How often [1]\n" in out
    assert "  --mood=good|bad             The mood [good]\n" in out
    assert re.search(r"--greeting=TEXT +The word \[hello\]\n", out)
    assert "--name" not in out and "toy --helpfull lists all flags" in out
    assert "--name=NAME" in call(main, tmp_path, "toy", "--helpfull").out


@pytest.mark.parametrize("command", ["train", "tune", "compare", "lr_find"])
def test_the_help_of_a_command_with_many_flags_fits_a_screen(command, tmp_path, columns):
    columns(80)
    lines = run_command(tmp_path, command, "--help").out.splitlines()
    assert len(lines) <= 40
    common = lines[lines.index("Common flags:") + 1 :]
    common = common[: common.index("")]
    assert max(map(len, common)) <= 80
    assert [line for line in common if "..." in line] == [], "summaries that are cut"
    assert any("--optimizer=NAME " in line for line in common)
