"""`--help` is fast: it reads the registry, and never imports TensorFlow."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.executions import soak_except

ROOT = Path(__file__).parents[2]
COMMANDS = ("train", "evaluate", "predict", "lr_find", "report", "verify")
SCRIPTS = (*COMMANDS, "launch_local")

RUN_ALL = """
import contextlib, importlib, io, json, sys
found = []
for command, argument in json.loads(sys.argv[1]):
    out, err = io.StringIO(), io.StringIO()
    sys.argv = [command, argument]
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            importlib.import_module(f"trainlib.cli.{command}").main()
            status = 0
        except SystemExit as ended:
            status = ended.code or 0
    loaded = [name for name in sys.modules if name.startswith(("tensorflow.", "keras."))]
    found.append([status, out.getvalue(), err.getvalue(), loaded])
print(json.dumps(found))
"""
"""Runs commands one after another in a process that has imported nothing."""


def run(*arguments, cwd=None):
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=cwd,
    )


BAD_FLAGS = (
    *("--epochs=ten", "--epoch=3", "--epochs=0", "--dataset=digit", "--optimizer=nadm"),
    *("--model=mpl", "--metrics=acuracy", "--schedule=cosine", "--constraint=norm"),
    *("--momentum=0.9", "--l1=0.1", "--filters=8"),
)


@pytest.fixture(scope="module")
def ends():
    """How the commands end, by command and argument: status, stdout, stderr, what was imported."""
    calls = [*((command, "--help") for command in COMMANDS), ("train", "--help=adam")]
    calls += [("train", flag) for flag in BAD_FLAGS]
    done = run("-c", RUN_ALL, json.dumps(calls))
    assert (done.returncode, done.stderr) == (0, "")
    return dict(zip(calls, json.loads(done.stdout), strict=True))


@pytest.mark.parametrize("command", COMMANDS)
def test_help_lists_the_flags_without_importing_tensorflow(command, ends):
    status, out, err, imported = ends[command, "--help"]
    assert (status, err, imported) == (0, "", [])
    assert out.startswith(f"{command}: ")
    own = {"verify": "--against=", "report": "--out="}
    assert own.get(command, "--run_dir=") in out


def test_help_on_a_function_shows_its_flags_without_importing_tensorflow(ends):
    status, out, err, imported = ends["train", "--help=adam"]
    assert (status, err, imported) == (0, "", [])
    assert out.startswith("optimizer adam: ") and "--beta_1=" in out


@pytest.mark.parametrize("flag", BAD_FLAGS)
def test_bad_flags_are_refused_without_importing_tensorflow(flag, ends):
    status, out, err, imported = ends["train", flag]
    assert (status, out, imported) == (2, "", [])
    assert err.count("\n") == 1


@pytest.mark.parametrize("command", SCRIPTS)
def test_a_script_of_a_checkout_runs_the_code_of_the_checkout(command, tmp_path):
    """`python scripts/train.py` needs no installed trainlib, and prefers its own."""
    (tmp_path / "scripts").mkdir()
    (tmp_path / "trainlib" / "cli").mkdir(parents=True)
    shutil.copy(ROOT / "scripts" / f"{command}.py", tmp_path / "scripts")
    (tmp_path / "trainlib" / "__init__.py").write_text("")
    (tmp_path / "trainlib" / "cli" / "__init__.py").write_text("")
    (tmp_path / "trainlib" / "cli" / f"{command}.py").write_text("def main(): print('own code')")
    done = run(str(tmp_path / "scripts" / f"{command}.py"), cwd=ROOT)
    assert (done.returncode, done.stdout, done.stderr) == (0, "own code\n", "")


@pytest.mark.parametrize("command", soak_except("train", "launch_local", names=SCRIPTS))
def test_scripts_run_the_commands(command, tmp_path):
    done = run(str(ROOT / "scripts" / f"{command}.py"), "--help", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"{command}: ")
