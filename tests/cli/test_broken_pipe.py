"""Commands whose output is closed before their end."""

from __future__ import annotations

import io
import os
import sys

import pytest
from helpers.commands import toy_main

from trainlib.cli.broken_pipe import ignore_broken_pipe


@pytest.fixture
def run_unread(monkeypatch):
    """Run the toy command with a closed stdout, and return its status and stderr."""

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
                toy_main(work)()
            except SystemExit as ended:
                status = ended.code
            assert sys.stdout is stdout
            return status, stderr.getvalue()

    return run


@pytest.mark.parametrize(
    ("text", "flush"),
    [("line", True), ("line", False), ("a line longer than the buffer" * 999, False)],
)
def test_a_command_whose_results_are_files_continues(text, flush, run_unread):
    reached = []

    def work(values):
        for line in range(3):
            print(text, flush=flush)
            reached.append(line)

    assert run_unread(ignore_broken_pipe(work)) == (0, "")
    assert reached == [0, 1, 2]


@pytest.mark.parametrize("flush", [True, False])
def test_other_commands_end_quietly(flush, run_unread):
    assert run_unread(lambda values: print("line", flush=flush)) == (1, "")


def test_output_that_is_read_and_errors_are_shown(toy):
    def work(values):
        print("line")
        raise ValueError("odd")

    assert toy(work=ignore_broken_pipe(work)) == (2, "line\n", "toy: odd\n")
