"""Workers in separate processes: they begin, stop and end together."""

from __future__ import annotations

import json
import random
import signal
import time

import numpy as np
import pytest
from helpers.commands import errors_in
from helpers.processes import started_python
from helpers.workers import QUICK, history, run_module, started_workers

from trainlib.cli.launch_local import free_ports, tf_configs

SOAK = pytest.mark.soak
LONG = (*QUICK, "--epochs=16", "--batch_size=8", "--checkpoint_epochs=0", "--checkpoint_steps=50")


@pytest.fixture(scope="module")
def two_workers(tmp_path_factory):
    """The results of a long run of two workers without a break."""
    folder = tmp_path_factory.mktemp("two") / "workers"
    assert run_module(folder, "launch_local", "2", "--", "train", *LONG)[0] == 0
    return results(folder)


def results(folder):
    """The history of a run and the hash of its parameters."""
    summary = json.loads((folder / "run" / "summary.json").read_text())
    return history(folder), summary["params_sha256"]


def assert_resumes(folder, expected):
    """Assert that two workers, started again, end with the results of a run without a break."""
    (folder / "again").mkdir()
    flags = ("launch_local", "2", "--", "train", f"--resume={folder / 'run'}")
    assert run_module(folder / "again" / "here", *flags)[0] == 0
    assert results(folder) == expected


def wait_for(text, worker):
    """Wait until a worker has printed a line with this text."""
    while text not in worker.stderr.readline():
        assert worker.poll() is None


def assert_saved(workers):
    """Assert that all end with a checkpoint."""
    for worker in workers:
        worker.communicate(timeout=120)
        assert worker.returncode == 75


@pytest.mark.parametrize("signalled", [pytest.param(0, marks=SOAK), 1])
def test_a_signal_to_any_worker_stops_all_after_one_step(signalled, tmp_path):
    with started_workers(tmp_path, LONG, LONG) as workers:
        wait_for("epoch ", workers[0])
        workers[signalled].send_signal(signal.SIGTERM)
        assert_saved(workers)
    assert not (tmp_path / "run" / "summary.json").exists()


@SOAK
def test_a_signal_to_the_launcher_stops_all_after_one_step(tmp_path, two_workers):
    command = ("-m", "trainlib.cli.launch_local", "2", "--", "train", *LONG)
    with started_python(*command, cwd=tmp_path) as launcher:
        wait_for("epoch ", launcher)
        launcher.send_signal(signal.SIGTERM)
        assert_saved([launcher])
    assert not (tmp_path / "run" / "summary.json").exists()
    assert_resumes(tmp_path, two_workers)


@pytest.mark.parametrize("killed", [0, pytest.param(1, marks=SOAK)])
def test_a_killed_worker_ends_the_others_with_one_line(killed, tmp_path):
    kill_one_of_two(killed, tmp_path)


@SOAK
@pytest.mark.parametrize("killed", [0, 1])
def test_a_run_that_lost_a_worker_is_resumed(killed, tmp_path, two_workers):
    kill_one_of_two(killed, tmp_path)
    assert_resumes(tmp_path, two_workers)


def kill_one_of_two(killed, folder):
    """Kill a worker within the fifth epoch, and assert how the other ends."""
    with started_workers(folder, LONG, LONG) as workers:
        wait_for(" 5/16 ", workers[0])
        time.sleep(random.Random(killed).uniform(0, 0.5))
        workers[killed].kill()
        began = time.monotonic()
        other = workers[1 - killed]
        errors = other.communicate(timeout=60)[1]
        assert time.monotonic() - began < 15
        assert other.returncode == 3
        (line,) = errors_in(errors).splitlines()
        assert line.startswith(f"train: worker {killed} is lost")


@SOAK
def test_workers_roll_back_as_one_device_does(tmp_path):
    """Two examples are too large for any step that has one of them."""
    generator = np.random.default_rng(0)
    x = generator.normal(size=(256, 4)).astype(np.float32)
    y = x.sum(axis=1)
    x[[37, 38]] = 1e30
    np.savez(tmp_path / "spikes.npz", x=x, y=y)
    flags = (
        f"--dataset={tmp_path / 'spikes.npz'}",
        "--task=regression",
        "--preprocess=none",
        "--hidden=8",
        "--optimizer=sgd",
        "--batch_size=16",
        "--epochs=3",
        "--nonfinite=roll_back",
        "--checkpoint_steps=2",
        "--report=false",
        "--run_dir=run",
    )
    assert run_module(tmp_path / "one", "train", *flags)[0] == 0
    assert run_module(tmp_path / "two", "launch_local", "2", "--", "train", *flags)[0] == 0
    (one, two) = (history(tmp_path / name) for name in ("one", "two"))
    assert one[-1]["skipped_steps"] > 0
    for first, second in zip(one, two, strict=True):
        assert {k: pytest.approx(x, rel=1e-6) for k, x in first.items() if x is not None} == {
            k: x for k, x in second.items() if x is not None
        }


def test_flags_that_differ_are_refused_by_all_workers_before_tensorflow_begins(tmp_path):
    message = (
        "train: worker 1 has --epochs=3, worker 0 --epochs=2: all workers need the same flags\n"
    )
    with started_workers(tmp_path, ("--epochs=2",), ("--epochs=3",)) as workers:
        for worker in workers:
            assert worker.communicate(timeout=60) == ("", message)
            assert worker.returncode == 2
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("index", [0, 1])
def test_a_missing_worker_is_waited_for_until_the_timeout(index, tmp_path):
    config = tf_configs(free_ports(2))[index]
    status, _, err = run_module(tmp_path / "a", "train", "--worker_timeout=0.5", TF_CONFIG=config)
    assert status == 3
    assert err.startswith(f"train: worker {1 - index} (127.0.0.1:")
    assert err.endswith("did not connect within 0.5 s; --worker_timeout sets a longer wait\n")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "TF_CONFIG must be JSON"),
        ('{"cluster": {"worker": "a:1"}}', '"cluster" must be lists of "host:port"'),
        ('{"cluster": {"worker": ["a"]}}', '"cluster" must be lists of "host:port"'),
        ('{"cluster": {"worker": ["a:1"], "ps": ["b:1"]}}', "unknown job of TF_CONFIG 'ps'"),
        ('{"cluster": {"worker": ["a:1"]}}', '"task" must be one of the cluster\'s'),
        (
            '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 1}}',
            '"task" must be one of the cluster\'s',
        ),
    ],
)
def test_a_bad_tf_config_is_refused_in_one_line(text, message, monkeypatch, command):
    monkeypatch.setenv("TF_CONFIG", text)
    done = command("train")
    assert done.status == 2 and message in done.err and done.err.count("\n") == 1


def test_several_workers_need_a_tf_config(monkeypatch, command):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    done = command("train", "--strategy=multi_worker")
    assert (done.status, done.err.count("\n")) == (2, 1)
    assert "needs TF_CONFIG" in done.err
