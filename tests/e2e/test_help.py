"""`--help` is fast: it reads the registry, and never imports TensorFlow."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
COMMANDS = ("train", "evaluate", "predict", "lr_find", "report", "verify")
SCRIPTS = (*COMMANDS, "launch_local")

PRINT_LOADED_MODULES = """
import sys
from trainlib.cli.{command} import main
sys.argv = ["{command}", *{arguments}]
try:
    main()
finally:
    print(*(name for name in sys.modules if name.startswith(("tensorflow.", "keras."))), end="!")
"""


def run(*arguments, cwd=None):
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=cwd,
    )


@pytest.mark.parametrize("command", COMMANDS)
def test_help_lists_the_flags_without_importing_tensorflow(command):
    done = run("-c", PRINT_LOADED_MODULES.format(command=command, arguments=["--help"]))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"{command}: ")
    assert done.stdout.endswith("\n!"), "modules of TensorFlow or Keras were imported"
    own = {"verify": "--against=", "report": "--out="}
    assert own.get(command, "--run_dir=") in done.stdout


def test_help_on_a_function_shows_its_flags_without_importing_tensorflow():
    done = run("-c", PRINT_LOADED_MODULES.format(command="train", arguments=["--help=adam"]))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("optimizer adam: ") and "--beta_1=" in done.stdout
    assert done.stdout.endswith("\n!"), "modules of TensorFlow or Keras were imported"


@pytest.mark.parametrize(
    "flag",
    ["--epochs=ten", "--epoch=3", "--epochs=0", "--dataset=digit"]
    + ["--optimizer=nadm", "--model=mpl", "--metrics=acuracy", "--schedule=cosine"]
    + ["--constraint=norm", "--momentum=0.9", "--l1=0.1", "--filters=8"],
)
def test_bad_flags_are_refused_without_importing_tensorflow(flag):
    done = run("-c", PRINT_LOADED_MODULES.format(command="train", arguments=[flag]))
    assert (done.returncode, done.stdout) == (2, "!")
    assert done.stderr.count("\n") == 1


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


@pytest.mark.parametrize("command", SCRIPTS)
def test_scripts_run_the_commands(command, tmp_path):
    done = run(str(ROOT / "scripts" / f"{command}.py"), "--help", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"{command}: ")
