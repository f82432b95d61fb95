"""The commands as a user runs them."""

from __future__ import annotations

import json
import subprocess
import sys


def run(command, *flags, cwd):
    return subprocess.run(
        [sys.executable, "-m", f"trainlib.cli.{command}", *flags],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_train_leaves_a_run_folder_and_repeats_itself(tmp_path):
    summaries = []
    for name in ("a", "b"):
        done = run("train", "--optimizer=nadam", "--epochs=3", f"--run_dir={name}", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        files = {path.name for path in (tmp_path / name).iterdir()}
        assert files == {"flags.txt", "metrics.jsonl", "model.keras", "summary.json"}
        summaries.append(json.loads((tmp_path / name / "summary.json").read_text()))
    assert summaries[0]["test"]["accuracy"] > 0.9
    assert summaries[0]["params_sha256"] == summaries[1]["params_sha256"]
    evaluated = run("evaluate", "--run_dir=a", cwd=tmp_path)
    assert json.loads(evaluated.stdout) == summaries[0]["test"]


def test_bad_input_gets_one_line_and_status_2(tmp_path):
    for flags, words in {
        ("--optimizer=nadm",): "did you mean 'nadam'",
        ("--dataset=digit",): "did you mean 'digits'",
        ("--optimizer=sgd", "--beta_1=0.5"): "--beta_1 is not for optimizer sgd",
        ("--epochs=0",): "epochs must be at least 1",
        ("--optimzer=adam",): "optimizer",
    }.items():
        done = run("train", *flags, "--run_dir=x", cwd=tmp_path)
        assert done.returncode == 2, done.stderr
        assert words in done.stderr
        assert done.stderr.count("\n") == 1, done.stderr
        assert not (tmp_path / "x").exists()
