"""`launch_local`: several workers on this machine train as one device does."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import pytest
from helpers.commands import errors_in, run_command
from helpers.experiments import RUN_FILES
from helpers.processes import run_python, started_python
from helpers.workers import QUICK, history, run_module

from trainlib.cli.launch_local import parse_arguments, tf_configs
from trainlib.training.processes import python_module

SOAK = pytest.mark.soak


@pytest.fixture(scope="module")
def one_device(tmp_path_factory):
    """The history of the run on one device."""
    folder = tmp_path_factory.mktemp("one")
    assert run_command(folder, "train", "--strategy=one_device", *QUICK).status == 0
    return history(folder)


def assert_follows(folder, one_device):
    """Assert that a run has the history of that on one device, and the files of a run."""
    lines = history(folder)
    assert len(lines) == len(one_device) == 2
    for line, expected in zip(lines, one_device, strict=True):
        assert line == pytest.approx(expected, rel=1e-9)
    assert {path.name for path in (folder / "run").iterdir()} == RUN_FILES


@pytest.mark.parametrize("count", [2, pytest.param(3, marks=SOAK)])
def test_workers_train_as_one_device_does_and_leave_one_run_folder(count, tmp_path, one_device):
    folder = tmp_path / "many"
    status, out, err = run_module(folder, "launch_local", str(count), "--", "train", *QUICK)
    assert (status, errors_in(err)) == (0, ""), err
    assert err.count("epoch 2/2") == 1 and "worker" not in err
    assert out.endswith("run folder: run\n")
    assert [path.name for path in folder.iterdir()] == ["run"]
    assert_follows(folder, one_device)


@SOAK
def test_replicas_train_as_one_device_does(tmp_path, one_device):
    folder = tmp_path / "many"
    flags = ("--strategy=mirrored", "--replicas=2", *QUICK)
    status, _, err = run_module(folder, "train", *flags)
    assert (status, errors_in(err)) == (0, "")
    assert_follows(folder, one_device)


def test_a_worker_that_fails_gives_its_status_and_its_number(tmp_path):
    flags = ("--epochs=0", *QUICK[:2])
    status, out, err = run_module(tmp_path / "a", "launch_local", "2", "--", "train", *flags)
    assert (status, out) == (2, "")
    message = "train: --epochs must be at least 1, got 0"
    assert sorted(err.splitlines()) == [message, f"worker 1: {message}"]


def test_the_number_of_workers_and_the_command_are_read():
    count, command = parse_arguments(["2", "--", "train", "--a=1"])
    assert (count, command) == (2, python_module("trainlib.cli.train", "--a=1"))


@pytest.mark.parametrize(
    "arguments",
    [
        ["x", "--", "train"],
        ["0", "--", "train"],
        ["65", "--", "train"],
        ["9" * 5000, "--", "train"],
        ["2"],
        ["2", "--", "predict"],
    ],
)
def test_other_arguments_are_refused(arguments):
    with pytest.raises(ValueError, match="N"):
        parse_arguments(arguments)


def test_too_few_descriptors_are_one_line(tmp_path):
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_NOFILE, (12, 12)); "
        "sys.argv[1:] = ['40', '--', 'train']; "
        "from trainlib.cli.launch_local import main; main()"
    )
    done = run_python("-c", code, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (2, "launch_local: Too many open files\n")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux has such a call")
def test_a_worker_ends_with_a_launcher_that_is_killed(tmp_path):
    code = (
        "import os, subprocess, sys, time; from trainlib.cli.launch_local import ends_with\n"
        "worker = subprocess.Popen(['sleep', '60'], preexec_fn=ends_with(os.getpid()))\n"
        "print(worker.pid, flush=True); time.sleep(60)"
    )
    with started_python("-c", code) as launcher:
        worker = int(launcher.stdout.readline())
        launcher.kill()
        launcher.wait()
        for _ in range(100):
            if not _is_running(worker):
                return
            time.sleep(0.05)
    pytest.fail("the worker is still running")


def _is_running(process):
    try:
        return Path(f"/proc/{process}/stat").read_text().split()[2] != "Z"
    except OSError:
        return False


def test_each_worker_gets_the_cluster_and_its_own_index():
    first, second = map(json.loads, tf_configs([1234, 2345]))
    assert first["cluster"] == second["cluster"]
    assert first["cluster"] == {"worker": ["127.0.0.1:1234", "127.0.0.1:2345"]}
    assert [first["task"], second["task"]] == [{"type": "worker", "index": k} for k in (0, 1)]
