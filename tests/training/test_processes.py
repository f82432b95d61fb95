"""New processes do not run code of the working directory."""

from __future__ import annotations

import subprocess

from helpers.processes import environment

from trainlib.training.processes import python_module


def test_a_file_of_the_working_directory_is_not_imported(tmp_path):
    (tmp_path / "random.py").write_text("raise SystemExit('executed')")
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "mine.py").write_text(
        "import random, sys; print(__name__, sys.argv[1:], random.random() < 1)"
    )
    done = subprocess.run(
        python_module("mine", "--a", "b"),
        cwd=tmp_path,
        env=environment(PYTHONPATH=str(tmp_path / "lib")),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("__main__ ['--a', 'b'] True\n", "")
