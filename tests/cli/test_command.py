"""What every command does with its flags, its output and its errors, shown on a toy command."""

from __future__ import annotations

import errno
import io
import os
import sys

import pytest
from absl import flags

from trainlib.cli import command

ABOUT = "\ntoy: plays.\n\n  toy --count=2\n"


def define(values):
    group = command.Group(values, "Toy")
    group.text("name", None, "Whom to greet.")
    group.text("greeting", "hello", "The word; " + "very " * 40 + "long.")
    group.whole("count", 1, "How often.")
    group.number("rate", 0.5, "How fast.")
    group.switch("loud", None, "Shout.")
    group.whole_numbers("sizes", None, "How large.")
    group = command.Group(values, "Other")
    group.one_of("mood", "good", ["good", "bad"], "How.")


@pytest.fixture
def toy(call_main, tmp_path):
    """Runs the toy command, whose work is `work(values)`."""

    def run(*arguments, work=lambda values: None):
        def main():
            command.run("toy", ABOUT, define, work)

        return call_main(main, tmp_path, "toy", *arguments)

    return run


@pytest.fixture
def value(toy):
    """The value of a flag, given arguments; bad ones end in `status 2`."""

    def get(name, *arguments):
        found = []
        done = toy(*arguments, work=lambda values: found.append(values[name].value))
        assert done == (0, "", "")
        return found[0]

    return get


def raising(error):
    def work(values):
        raise error

    return work


def test_help_shows_the_flags_by_group_and_does_no_work(toy):
    for flag in ("--help", "-h"):
        done = toy(flag, work=raising(AssertionError()))
        assert (done.status, done.err) == (0, "")
        toy_part, other_part, common = done.out.split("\n\n")[2:]
        assert done.out.startswith("toy: plays.\n\n  toy --count=2\n\nToy:\n")
        assert "--name=...                      Whom to greet.\n" in toy_part
        assert "How often. (default 1)" in toy_part
        assert "--[no]loud                      Shout.\n" in toy_part
        assert other_part.startswith("Other:\n  --mood=...")
        assert "<good|bad>: How. (default good)" in other_part
        assert "--[no]traceback" in common and "--flagfile=..." in common


def test_help_fits_on_100_columns_and_keeps_its_second_column(toy):
    lines = toy("--help").out.splitlines()
    assert max(map(len, lines)) <= 100
    (first,) = [i for i, line in enumerate(lines) if "--greeting" in line]
    assert lines[first + 1].startswith(" " * 34 + "very")


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
    ],
)
def test_flags_hold_what_is_given_and_write_it_back(name, argument, expected, value):
    assert value(name, argument) == expected
    values = flags.FlagValues()
    define(values)
    values(["toy", argument])
    written = values[name].serialize()
    assert value(name, written) == expected


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("--count=x", "flag --count=x: 'x' is not a whole number"),
        ("--count=1.5", "flag --count=1.5: '1.5' is not a whole number"),
        ("--count=", "flag --count=: '' is not a whole number"),
        ("--rate=fast", "flag --rate=fast: could not convert string to float: 'fast'"),
        ("--loud=maybe", "flag --loud=maybe: 'maybe' is neither true nor false"),
        ("--sizes=3,,4", "flag --sizes=3,,4: '3,,4' is not whole numbers divided by commas"),
        ("--mood=ugly", "flag --mood=ugly: value should be one of <good|bad>"),
        ("--cuont=3", "Unknown command line flag 'cuont'. Did you mean: count ?"),
        ("again", "unexpected argument 'again': flags are given as --name=value"),
        (
            "--flagfile=none.txt",
            "Unable to open flagfile: [Errno 2] No such file or directory: 'none.txt'",
        ),
    ],
)
def test_bad_flags_get_one_line_and_status_2_before_any_work(argument, message, toy):
    assert toy(argument, work=raising(AssertionError())) == (2, "", f"toy: {message}\n")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ValueError("count must be\n  at least 1"), "count must be at least 1"),
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
    assert len(done.err) < 1100


def test_other_errors_get_one_line_that_says_how_to_see_more_and_status_1(toy):
    done = toy(work=raising(KeyError("where")))
    assert done == (1, "", "toy: KeyError: 'where' (--traceback shows where it arose)\n")


@pytest.mark.parametrize("error", [ValueError("odd"), KeyError("odd")])
def test_traceback_raises_the_error_itself(error, toy):
    with pytest.raises(type(error), match="odd"):
        toy("--traceback", work=raising(error))


def test_an_interrupt_is_named_and_gets_status_130(toy):
    assert toy(work=raising(KeyboardInterrupt())) == (130, "", "toy: interrupted\n")


def test_flags_come_from_a_file_and_later_ones_win(value, tmp_path):
    (tmp_path / "flags.txt").write_text("# of yesterday\n--count=3\n\n--noloud\n")
    assert value("count", "--flagfile=flags.txt") == 3
    assert value("loud", "--flagfile=flags.txt") is False
    assert value("count", "--flagfile=flags.txt", "--count=4") == 4


@pytest.mark.parametrize("arguments", [(), ("--name=",)])
def test_a_required_flag_is_missed(arguments, toy):
    done = toy(*arguments, work=lambda values: command.required(values, "name"))
    assert done == (2, "", "toy: --name must be given\n")


def test_a_required_flag_is_a_path(value, toy):
    found = []
    toy("--name=a/b", work=lambda values: found.append(command.required(values, "name")))
    assert [path.parts for path in found] == [("a", "b")]


@pytest.fixture
def unread(monkeypatch):
    """Runs the toy command with a stdout that nobody reads; returns its status and stderr."""

    def run(work):
        read, write = os.pipe()
        os.close(read)
        with os.fdopen(write, "w") as stdout, io.StringIO() as stderr:
            monkeypatch.setattr(sys, "argv", ["toy"])
            monkeypatch.setattr(sys, "stdout", stdout)
            monkeypatch.setattr(sys, "stderr", stderr)
            monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "3")
            status = 0
            try:
                command.run("toy", ABOUT, define, work)
            except SystemExit as ended:
                status = ended.code
            assert sys.stdout is stdout
            return status, stderr.getvalue()

    return run


@pytest.mark.parametrize(
    ("text", "flush"),
    [("line", True), ("line", False), ("a line longer than the buffer" * 999, False)],
)
def test_a_command_whose_results_are_files_goes_on_when_its_output_is_not_read(text, flush, unread):
    reached = []

    def work(values):
        for line in range(3):
            print(text, flush=flush)
            reached.append(line)

    assert unread(command.ignore_broken_pipe(work)) == (0, "")
    assert reached == [0, 1, 2]


@pytest.mark.parametrize("flush", [True, False])
def test_other_commands_end_quietly_when_their_output_is_not_read(flush, unread):
    assert unread(lambda values: print("line", flush=flush)) == (1, "")


def test_an_undisturbed_command_shows_what_it_prints_and_what_goes_wrong(toy):
    def work(values):
        print("line")
        raise ValueError("odd")

    assert toy(work=command.ignore_broken_pipe(work)) == (2, "line\n", "toy: odd\n")


def test_a_stdout_closed_by_the_shell_is_no_error(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["toy"])
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "3")
    command.run("toy", ABOUT, define, lambda values: print("line", flush=True))
    assert sys.stdout.writable()
    sys.stdout.close()


def test_a_command_can_take_what_is_no_flag_before_and_behind_its_flags(call_main, tmp_path):
    found = []

    def main():
        def work(values, things):
            found.append((values.count, things))

        command.run("toy", ABOUT, define, work, operand="thing")

    for arguments in (("a", "--count=3", "b"), ("--count=3", "a", "b"), ("--count=3", "--", "a")):
        assert call_main(main, tmp_path, "toy", *arguments) == (0, "", "")
    assert found == [(3, ["a", "b"]), (3, ["a", "b"]), (3, ["a"])]
    assert call_main(main, tmp_path, "toy") == (2, "", "toy: give a thing, or several\n")
    assert call_main(main, tmp_path, "toy", "--help").status == 0
