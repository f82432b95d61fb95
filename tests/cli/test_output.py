"""Results on stdout, everything else on stderr; --quiet, --verbose and --log_file."""

from __future__ import annotations

import re

import pytest
from rich.console import Console

from trainlib.cli import output


def work(values):
    output.detail("a detail")
    output.log("progress")
    output.log_to_file("the bar's line")
    output.warn("toy: a warning")
    output.print_result("42")


def test_results_are_on_stdout_and_everything_else_on_stderr(toy):
    assert toy(work=work) == (0, "42\n", "progress\ntoy: a warning\n")


def test_quiet_leaves_results_and_warnings(toy):
    assert toy("--quiet", work=work) == (0, "42\n", "toy: a warning\n")


def test_verbose_shows_details_the_versions_and_the_command(toy):
    done = toy("--verbose", "--name=two words", work=work)
    assert (done.status, done.out) == (0, "42\n")
    version, command, *others = done.err.splitlines()
    assert version.startswith("trainlib ") and command == "toy --verbose '--name=two words'"
    assert others == ["a detail", "progress", "toy: a warning"]


def test_both_are_refused(toy):
    assert toy("--quiet", "--verbose") == (2, "", "toy: --quiet and --verbose exclude each other\n")


def failing(values):
    work(values)
    raise ValueError("odd")


@pytest.mark.parametrize("flag", ["--noquiet", "--quiet"])
def test_the_log_file_has_all_lines_with_their_time(flag, toy, tmp_path):
    for _ in range(2):
        assert toy(flag, "--log_file=log.txt", work=failing).status == 2
    lines = (tmp_path / "log.txt").read_text().splitlines()
    assert all(re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d ", line) for line in lines)
    texts = [line[20:] for line in lines]
    assert texts[: len(texts) // 2] == texts[len(texts) // 2 :], "it is appended to"
    expected = ["a detail", "progress", "the bar's line", "toy: a warning", "42", "toy: odd"]
    assert texts[2 : len(texts) // 2] == expected


def test_a_log_file_that_cannot_be_written_is_one_line(toy):
    done = toy("--log_file=none/log.txt", work=work)
    assert (done.status, done.out, done.err.count("\n")) == (2, "", 1)


def test_the_options_end_with_the_command(toy, tmp_path):
    toy("--quiet", "--log_file=log.txt")
    assert toy(work=work).err == "progress\ntoy: a warning\n"
    assert "progress" not in (tmp_path / "log.txt").read_text()


def test_no_color_turns_colors_off(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    assert Console(stderr=True, force_terminal=True).no_color


def test_names_that_are_not_utf8_are_escaped_in_the_log_file(tmp_path, capsys):
    file = tmp_path / "log.txt"
    with output.output_options(quiet=False, verbose=False, log_file=str(file)):
        output.log("folder a\udcff")
    assert capsys.readouterr().err == "folder a\\udcff\n"
    assert file.read_text(encoding="utf-8").endswith("folder a\\udcff\n")
