"""`export_model` writes a run's model, says how it compared, and refuses bad input in one line."""

from __future__ import annotations

import re

import numpy as np
import pytest


def test_the_file_is_written_and_described(command, run_dir):
    done = command("export_model", f"--run_dir={run_dir}", "--format=npz", "--out=digits.npz")
    assert (done.status, done.err) == (0, "")
    assert re.fullmatch(r"digits.npz: [\d,]+ bytes\n", done.out)


@pytest.mark.soak
@pytest.mark.parametrize(("format", "out"), [("saved_model", "digits"), ("tflite", "x.tflite")])
def test_the_comparison_is_described_without_messages_of_converters(format, out, command, run_dir):
    done = command("export_model", f"--run_dir={run_dir}", f"--format={format}", f"--out={out}")
    assert (done.status, done.err) == (0, "")
    line = r"[\w.]+: [\d,]+ bytes; 64 examples are predicted as by the run's model, to \S+\n"
    assert re.fullmatch(line, done.out)


@pytest.mark.soak
def test_exported_parameters_start_another_run(command, run_dir):
    command("export_model", f"--run_dir={run_dir}", "--format=npz", "--out=digits.npz")
    started = command(
        *("train", "--parameters=digits.npz", "--epochs=1", "--optimizer=sgd"),
        *("--learning_rate=0", "--execution=graph", "--noreport", "--run_dir=again"),
    )
    assert started.status == 0, started.err
    again = command("predict", "--run_dir=again")
    assert again.out == command("predict", f"--run_dir={run_dir}").out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "--run_dir must be given"),
        (("--run_dir=none",), "--out must be given"),
        (("--run_dir=none", "--out=x"), "none: not a run, because it has no config.json"),
        (("--run_dir=none", "--out=there.npz", "--format=npz"), "there.npz: exists already"),
        (
            ("--run_dir=none", "--out=x.h5", "--format=tflite"),
            "--out x.h5: a file of format tflite",
        ),
    ],
)
def test_bad_input_is_one_line(arguments, message, command, tmp_path):
    (tmp_path / "there.npz").touch()
    done = command("export_model", *arguments)
    assert (done.status, done.out) == (2, "")
    assert done.err.startswith("export_model: ") and message in done.err
    assert done.err.count("\n") == 1
    assert [file.name for file in tmp_path.iterdir()] == ["there.npz"]


def test_parameters_of_another_model_are_refused(command, tmp_path):
    np.savez(tmp_path / "other.npz", **{"head/kernel": np.zeros(3)})
    done = command("train", "--parameters=other.npz", "--hidden=8", "--run_dir=run")
    assert (done.status, done.out) == (2, "")
    assert "other.npz does not fit the model 'mlp': it lacks hidden_1/kernel" in done.err
    assert not (tmp_path / "run").exists()
