"""What every command does with its flags, its operands and its errors, shown on a toy command."""

from __future__ import annotations

import errno
import sys

import pytest
from absl import flags
from helpers.commands import call, raising, toy_main

from trainlib.cli import app
from trainlib.cli.flag_types import Group


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("--cuont=3", "unknown flag --cuont: did you mean --count?"),
        ("again", "unexpected argument 'again': flags are given as --name=value"),
        (
            "--flagfile=none.txt",
            "flag --flagfile: none.txt: No such file or directory",
        ),
    ],
)
def test_arguments_that_are_not_valid_get_one_line_and_status_2_before_any_work(
    argument, message, toy
):
    assert toy(argument, work=raising(AssertionError())) == (2, "", f"toy: {message}\n")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ValueError("count must be\n  at least 1"), "--count must be at least 1"),
        (TypeError("no number"), "no number"),
        (ValueError(), "ValueError"),
        (FileNotFoundError(errno.ENOENT, "No such file", "a.npz"), "a.npz: No such file"),
        (OSError(errno.ENOSPC, "No space left"), "No space left"),
        (FileNotFoundError("model a.keras: there is no such file"), "model a.keras: there is no "),
        (ValueError("word " * 1000), "word word word"),
    ],
)
def test_bad_input_gets_one_short_line_and_status_2(error, message, toy):
    done = toy(work=raising(error))
    assert (done.status, done.out) == (2, "")
    assert done.err.startswith(f"toy: {message}")
    assert done.err.endswith("\n") and done.err.count("\n") == 1
    assert len(done.err) < 2100


def test_the_flags_that_a_message_of_the_library_names_get_dashes():
    values = flags.FlagValues()
    group = Group(values, "Flags")
    group.integer("epochs", 1, "")
    group.number("learning_rate", 1.0, "")
    text = "epochs must be 1, all epochs: leave learning_rate out"
    assert app.with_dashes(text, values) == f"--{text.replace('learning', '--learning')}"
    for text in ("the epochs", "epochs.txt: not found", "'learning_rate'", "--learning_rate", "x"):
        assert app.with_dashes(text, values) == text


def test_other_errors_get_one_line_that_says_how_to_see_more_and_status_1(toy):
    done = toy(work=raising(KeyError("where")))
    assert done == (1, "", "toy: KeyError: 'where' (--traceback shows where it was raised)\n")


@pytest.mark.parametrize("error", [ValueError("odd"), KeyError("odd")])
def test_traceback_raises_the_error_itself(error, toy):
    with pytest.raises(type(error), match="odd"):
        toy("--traceback", work=raising(error))


def test_an_interrupt_is_named_and_gets_status_130(toy):
    assert toy(work=raising(KeyboardInterrupt())) == (130, "", "toy: interrupted\n")


def test_flags_come_from_a_file_and_later_ones_win(toy, tmp_path):
    (tmp_path / "flags.txt").write_text("# a comment\n--count=3\n\n--noloud\n")
    found = []

    def work(values):
        found.append((values.count, values.loud))

    assert toy("--flagfile=flags.txt", work=work) == (0, "", "")
    assert toy("--flagfile=flags.txt", "--count=4", work=work) == (0, "", "")
    assert found == [(3, False), (4, False)]


@pytest.mark.parametrize("arguments", [(), ("--name=",)])
def test_a_required_flag_that_is_missing_is_named(arguments, toy):
    done = toy(*arguments, work=lambda values: app.required_path(values, "name"))
    assert done == (2, "", "toy: --name must be given, as in --name=PATH\n")


def test_a_required_flag_is_a_path(toy):
    found = []
    toy("--name=a/b", work=lambda values: found.append(app.required_path(values, "name")))
    assert [path.parts for path in found] == [("a", "b")]


def test_operands_may_stand_before_and_after_flags(tmp_path):
    found = []
    main = toy_main(lambda values, things: found.append((values.count, things)), operand="thing")
    for arguments in (("a", "--count=3", "b"), ("--count=3", "a", "b"), ("--count=3", "--", "a")):
        assert call(main, tmp_path, "toy", *arguments) == (0, "", "")
    assert found == [(3, ["a", "b"]), (3, ["a", "b"]), (3, ["a"])]
    assert call(main, tmp_path, "toy") == (2, "", "toy: give a thing, or several\n")
    assert call(main, tmp_path, "toy", "--help").status == 0


def test_a_stdout_closed_by_the_shell_is_no_error(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["toy"])
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "3")
    toy_main(lambda values: print("line", flush=True))()
    assert sys.stdout.writable()
    sys.stdout.close()
