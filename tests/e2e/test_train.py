"""The commands as a user runs them, in a new process for each kind of end."""

from __future__ import annotations

import json
import os
import random
import re
import resource
import signal
import subprocess
import sys
import time

import pytest
from helpers.commands import errors_in, run_command
from helpers.experiments import QUICK, RUN_FILES
from helpers.processes import environment, run_python, started_python

FILES = RUN_FILES | {
    "accuracy.png",
    "confusion_matrix.png",
    "precision_recall.png",
    "loss_ratio.png",
    "reliability.png",
    "loss.png",
    "report.html",
}
QUIET = {"capture_output": True, "text": True, "timeout": 300, "check": False}


def start(*flags):
    """Return the arguments of a process that runs `train` as a user's does."""
    return {"args": [sys.executable, "-m", "trainlib.cli.train", *flags], "env": environment()}


def run(command, *flags, cwd):
    """Run a command to its end in a process that has TensorFlow loaded."""
    return run_python("-m", f"trainlib.cli.{command}", *flags, cwd=cwd)


def started_train(*flags, cwd):
    """Start `train` in a process that has TensorFlow loaded."""
    return started_python("-m", "trainlib.cli.train", *flags, cwd=cwd)


def summary(folder):
    return json.loads((folder / "summary.json").read_text())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a working folder with one finished run, `a`."""
    folder = tmp_path_factory.mktemp("e2e")
    flags = ("--optimizer=nadam", "--epochs=3", "--run_dir=a")
    done = subprocess.run(**start(*flags), **QUIET, cwd=folder)
    assert (done.returncode, errors_in(done.stderr)) == (0, "")
    return folder


def test_train_learns_and_leaves_a_run_folder(folder):
    assert {path.name for path in (folder / "a").iterdir()} == FILES
    assert summary(folder / "a")["test"]["accuracy"] > 0.9
    assert len((folder / "a" / "metrics.jsonl").read_text().splitlines()) == 3


def test_evaluate_prints_the_test_results_of_the_summary(folder):
    done = run("evaluate", "--run_dir=a", cwd=folder)
    assert (done.returncode, errors_in(done.stderr)) == (0, "")
    assert json.loads(done.stdout) == summary(folder / "a")["test"]


@pytest.mark.soak  # tests/cli/test_predict.py runs it in the test process
def test_predict_writes_a_row_for_each_example(folder):
    flags = ("--run_dir=a", "--output=predicted.csv")
    done = run("predict", *flags, cwd=folder)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert len((folder / "predicted.csv").read_text().splitlines()) == 1 + 359


def test_bad_input_gets_one_line_and_status_2(folder):
    flags = ("--optimizer=nadm", "--run_dir=b")
    done = run("train", *flags, cwd=folder)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("train: unknown optimizer 'nadm': did you mean 'nadam'?")
    assert done.stderr.count("\n") == 1
    assert not (folder / "b").exists()


@pytest.mark.soak
def test_a_flagfile_repeats_a_run_bit_for_bit_though_its_output_is_not_read(folder):
    flags = ("--flagfile=a/flags.txt", "--run_dir=again")
    with started_train(*flags, cwd=folder) as process:
        assert process.stderr.readline().startswith("digits: ")
        process.stderr.close()
        process.stdout.close()
        assert process.wait(300) == 0
    assert summary(folder / "again")["params_sha256"] == summary(folder / "a")["params_sha256"]


@pytest.mark.parametrize(
    ("sent", "status"),
    [pytest.param(signal.SIGINT, 130, marks=pytest.mark.soak), (signal.SIGTERM, 75)],
)
def test_a_signal_stops_a_run_with_a_checkpoint_from_which_it_is_resumed(sent, status, folder):
    name = sent.name
    off = ("--checkpoint_epochs=0", "--checkpoint_best=none")
    flags = ("--epochs=1000000", "--execution=graph", *off, f"--run_dir={name}")
    with started_train(*flags, cwd=folder) as process:
        while not process.stderr.readline().startswith("epoch "):
            assert process.poll() is None
        process.send_signal(sent)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == status
    saving, stopped = errors_in(errors).splitlines()
    assert saving == f"train: {name}, saving a checkpoint ..."
    place = re.fullmatch(
        rf"train: {name}: stopped (.*); resume with: train --resume={name}", stopped
    )[1]
    assert not (folder / name / "summary.json").exists()
    assert len(list((folder / name / "checkpoints").iterdir())) == 1
    done = run_command(folder, "train", f"--resume={name}", "--stop_after=1")
    assert done.status == 75
    assert f"resuming {place}\n" in done.err


@pytest.mark.parametrize("execution", ["graph", pytest.param("auto", marks=pytest.mark.soak)])
def test_a_killed_and_resumed_run_ends_in_the_bits_of_one_that_was_not_killed(execution, folder):
    """The kill comes at a random moment of training; the other runs are in this process."""
    unbroken, killed = (f"{name}_{execution}" for name in ("unbroken", "killed"))
    flags = (
        f"--execution={execution}",
        *("--hidden=30", "--dropout=0.25", "--optimizer=nadam", "--gradient_accumulation_steps=2"),
        *("--reduce_on_plateau", "--reduce_on_plateau_patience=2", "--early_stop"),
        *("--early_stop_patience=50", "--epochs=20", "--checkpoint_steps=30", "--report=false"),
    )
    done = run_command(folder, "train", *flags, f"--run_dir={unbroken}")
    assert (done.status, done.errors) == (0, "")
    begin = (*flags, f"--run_dir={killed}")
    with started_train(*begin, cwd=folder) as process:
        while not process.stderr.readline().startswith("epoch "):
            assert process.poll() is None
        time.sleep(random.uniform(0, 0.2))
        process.kill()
    assert not (folder / killed / "summary.json").exists()
    done = run_command(folder, "train", f"--resume={killed}")
    assert (done.status, done.errors) == (0, "")
    ends = [end_of(folder / name) for name in (unbroken, killed)]
    assert ends[0] == ends[1]


def end_of(folder):
    """Return the summary and the history of a run, without their times."""
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    found = [summary(folder), *map(json.loads, lines)]
    return [{k: x for k, x in part.items() if k not in ("seconds", "date")} for part in found]


@pytest.mark.soak
def test_a_second_interrupt_ends_a_run_at_once(folder):
    """The first interrupt waits for a callback that never returns."""
    (folder / "stuck.py").write_text(
        "import time\n"
        "def stuck(status):\n"
        "    print('stuck', flush=True)\n"
        "    while True:\n"
        "        time.sleep(0.1)\n"
    )
    flags = (
        "--callbacks=stuck:stuck",
        "--checkpoint_steps=10",
        "--report=false",
        "--run_dir=twice",
    )
    with started_train(*flags, cwd=folder) as process:
        while not process.stdout.readline().startswith("stuck"):
            assert process.poll() is None
        while not (folder / "twice" / "checkpoints" / "epoch_0001_batch_000040").exists():
            time.sleep(0.01)  # it is written while the run continues
        process.send_signal(signal.SIGINT)
        while process.stderr.readline() != "train: SIGINT, saving a checkpoint ...\n":
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=120)
        assert (process.returncode, errors) == (
            130,
            "\ntrain: interrupted immediately, without a checkpoint\n",
        )
    done = run("train", "--resume=twice", "--callbacks=", "--epochs=10", cwd=folder)
    assert (done.returncode, errors_in(done.stderr)) == (0, "")
    assert "resuming in epoch 1 of 10, after batch 40 of 41\n" in done.stderr


@pytest.mark.soak
def test_a_full_disk_ends_a_run_with_one_line_and_leaves_its_last_checkpoint_intact(folder):
    flags = ("--hidden=300", "--epochs=3", "--checkpoint_best=none", "--report=false")
    run("train", *flags, "--run_dir=enough", cwd=folder)
    first = run("train", *flags, "--run_dir=full", "--stop_after=50", cwd=folder)
    assert first.returncode == 75
    checkpoints = folder / "full" / "checkpoints"
    before = sorted(checkpoints.iterdir())
    resumed = start("--resume=full")
    done = subprocess.run(**resumed, **QUIET, cwd=folder, preexec_fn=no_large_files)
    assert done.returncode == 2
    assert re.fullmatch(
        r"train: full/checkpoints/epoch_0003_batch_000000: .*File too large.*\n",
        errors_in(done.stderr),
    )
    assert sorted(checkpoints.iterdir()) == before
    assert subprocess.run(**resumed, **QUIET, cwd=folder).returncode == 0
    assert summary(folder / "full")["params_sha256"] == summary(folder / "enough")["params_sha256"]


def no_large_files():
    """Let this process write no file above 100 KB, as on a full disk."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))


def test_a_deleted_folder_ends_a_run_with_one_line(folder):
    (folder / "lose.py").write_text("import shutil\ndef lose(status):\n    shutil.rmtree('lost')\n")
    done = run_command(folder, "train", *QUICK, "--callbacks=lose:lose", "--run_dir=lost")
    assert done.status == 2
    assert re.fullmatch(r"train: lost/.*: No such file or directory\n", done.errors)


@pytest.mark.soak
def test_a_terminal_shows_a_progress_bar_that_is_removed_at_the_end(folder):
    pty = pytest.importorskip("pty", reason="there are no terminals to open here")
    terminal, shell = pty.openpty()
    flags = ("--epochs=2", "--run_dir=shown")
    with subprocess.Popen(**start(*flags), cwd=folder, stdout=shell, stderr=shell) as process:
        os.close(shell)
        shown = b""
        while chunk := read_terminal(terminal):
            shown += chunk
        os.close(terminal)
        assert process.wait(300) == 0
    hidden, back = b"\x1b[?25l", b"\x1b[?25h"  # the cursor, while there is a bar
    assert shown.index(hidden) < shown.index(b"epoch 1/2  loss") < shown.rindex(back)
    assert shown.endswith(b"run folder: shown\r\n")


def read_terminal(terminal):
    """Return what a terminal shows next; b"" once its last process has ended."""
    try:
        return os.read(terminal, 65536)
    except OSError:
        return b""
