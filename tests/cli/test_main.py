"""`trainlib COMMAND`: all commands under one name."""

from __future__ import annotations

import subprocess
import sys

import pytest
from helpers.commands import call
from helpers.processes import environment

import trainlib
from trainlib.cli import start
from trainlib.cli.commands import COMMANDS
from trainlib.cli.main import main


@pytest.fixture
def run(tmp_path):
    """`run("train", "--help")`: the command `trainlib` with these arguments."""
    return lambda *arguments: call(main, tmp_path, "trainlib", *arguments)


@pytest.mark.parametrize("arguments", [(), ("--help",), ("-h",), ("help",)])
def test_help_lists_all_commands(arguments, run):
    done = run(*arguments)
    assert (done.status, done.err) == (0, "")
    assert all(f"  {name}" in done.out for name in COMMANDS)


@pytest.mark.parametrize("arguments", [("evaluate", "--help"), ("help", "evaluate")])
def test_a_command_is_run_with_the_other_arguments(arguments, run):
    done = run(*arguments)
    assert (done.status, done.err) == (0, "")
    assert done.out.startswith("evaluate: print the loss")


def test_an_unknown_command_is_refused_with_the_nearest(run):
    assert run("tran") == (2, "", "trainlib: unknown command 'tran': did you mean train?\n")
    assert "choose from train, evaluate" in run("x").err


@pytest.mark.parametrize("arguments", [("--version",), ("train", "--version")])
def test_the_version_is_shown(arguments, run):
    done = run(*arguments)
    assert (done.status, done.err) == (0, "")
    assert done.out.startswith(f"trainlib {trainlib.__version__} (Python {sys.version.split()[0]}")


def test_the_command_of_the_process_is_the_one_that_is_named(monkeypatch):
    monkeypatch.setattr(sys, "orig_argv", ["python", "-m", "trainlib", "tune", "--trials=1"])
    monkeypatch.setattr(sys, "argv", ["-m", "tune", "--trials=1"])
    assert start.command_of_process() == "tune"
    monkeypatch.setattr(sys, "argv", ["-m"])
    assert start.command_of_process() == ""


QUICK = """
import sys
sys.argv = ["trainlib", *{arguments!r}]
import trainlib.__main__
try:
    trainlib.__main__.main()
finally:
    loaded = [x for x in sys.modules if x.startswith(("tensorflow.", "keras."))]
    assert not loaded, loaded[:5]
"""


@pytest.mark.parametrize(
    "arguments",
    [["--version"], ["list", "optimizers", "models", "datasets"], ["completion", "zsh"]],
)
def test_names_versions_and_completion_do_not_import_tensorflow(arguments, tmp_path):
    code = QUICK.format(arguments=arguments)
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment(),
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout


def test_a_reader_that_ends_early_is_no_error(tmp_path):
    command = f"set -o pipefail; {sys.executable} -m trainlib train --helpfull | head -1"
    done = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, cwd=tmp_path, env=environment()
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "train: train a model on a data set, and write a run folder.\n"
