"""Workers of one run, each a process of its own: they do what one device does, and end together."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from trainlib.cli.distributed.rendezvous import meet
from trainlib.cli.exit_status import WorkerLostError
from trainlib.cli.launch_local import free_ports, parsed, tasks
from trainlib.training.cluster import Cluster, cluster

QUICK = (
    "--train_examples=100",
    "--hidden=8",
    "--epochs=2",
    "--precision=float64",
    "--execution=graph",
    "--run_dir=run",
    "--report=false",
)
SOAK = pytest.mark.soak
FILES = {"flags.txt", "metrics.csv", "metrics.jsonl", "model.keras", "summary.json", "checkpoints"}


def popen(folder, module, *arguments, **environment):
    settings = {k: x for k, x in os.environ.items() if not k.startswith("TF_")} | environment
    return subprocess.Popen(
        [sys.executable, "-m", f"trainlib.cli.{module}", *arguments],
        cwd=folder,
        env=settings,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def end(*processes):
    for process in processes:
        process.kill()
        process.wait()
        process.stdout.close()
        process.stderr.close()


def run(folder, module, *arguments, **environment):
    folder.mkdir()
    process = popen(folder, module, *arguments, **environment)
    try:
        out, err = process.communicate(timeout=120)
    finally:
        end(process)
    return process.returncode, out, err


def history(folder):
    lines = (folder / "run" / "metrics.jsonl").read_text().splitlines()
    return [{k: x for k, x in json.loads(line).items() if k != "seconds"} for line in lines]


@pytest.fixture(scope="module")
def one_device(tmp_path_factory):
    folder = tmp_path_factory.mktemp("one") / "device"
    assert run(folder, "train", "--strategy=one_device", *QUICK)[0] == 0
    return history(folder)


def assert_follows(folder, one_device):
    lines = history(folder)
    assert len(lines) == len(one_device) == 2
    for line, expected in zip(lines, one_device, strict=True):
        assert line == pytest.approx(expected, rel=1e-9)
    assert {path.name for path in (folder / "run").iterdir()} == FILES


@pytest.mark.parametrize("count", [2, pytest.param(3, marks=SOAK)])
def test_workers_train_as_one_device_does_and_leave_one_run_folder(count, tmp_path, one_device):
    folder = tmp_path / "many"
    status, out, err = run(folder, "launch_local", str(count), "--", "train", *QUICK)
    assert (status, err) == (0, "")
    assert out.count("epoch 2/2") == 1
    assert [path.name for path in folder.iterdir()] == ["run"]
    assert_follows(folder, one_device)


@SOAK
def test_replicas_train_as_one_device_does(tmp_path, one_device):
    folder = tmp_path / "many"
    status, _, err = run(folder, "train", "--strategy=mirrored", "--replicas=2", *QUICK)
    assert (status, err) == (0, "")
    assert_follows(folder, one_device)


LONG = (*QUICK, "--epochs=16", "--batch_size=8", "--checkpoint_epochs=0", "--checkpoint_steps=50")


@pytest.fixture(scope="module")
def two_workers(tmp_path_factory):
    """A long run of two workers without a break."""
    folder = tmp_path_factory.mktemp("two") / "workers"
    assert run(folder, "launch_local", "2", "--", "train", *LONG)[0] == 0
    return ended(folder)


def ended(folder):
    """What a run came to, to the bit."""
    summary = json.loads((folder / "run" / "summary.json").read_text())
    return history(folder), summary["params_sha256"]


def assert_goes_on(folder, expected):
    """Started again, two workers come to what they would have come to."""
    (folder / "again").mkdir()
    flags = ("launch_local", "2", "--", "train", f"--resume={folder / 'run'}")
    assert run(folder / "again" / "here", *flags)[0] == 0
    assert ended(folder) == expected


TOLD = [pytest.param("both", marks=SOAK), pytest.param(0, marks=SOAK), 1]


@pytest.mark.parametrize("told", TOLD)
def test_a_signal_to_any_worker_saves_one_step_of_all_and_they_go_on(told, tmp_path, two_workers):
    if told == "both":
        workers = [popen(tmp_path, "launch_local", "2", "--", "train", *LONG)]
    else:
        configs = tasks(free_ports(2))
        workers = [popen(tmp_path, "train", *LONG, TF_CONFIG=config) for config in configs]
    try:
        while not workers[0].stdout.readline().startswith("epoch "):
            assert workers[0].poll() is None
        workers[0 if told == "both" else told].send_signal(signal.SIGTERM)
        for worker in workers:
            worker.communicate(timeout=40)
            assert worker.returncode == 75
    finally:
        end(*workers)
    assert not (tmp_path / "run" / "summary.json").exists()
    assert_goes_on(tmp_path, two_workers)


@pytest.mark.parametrize("killed", [0, pytest.param(1, marks=SOAK)])
def test_a_killed_worker_ends_the_others_with_one_line_and_all_go_on(killed, tmp_path, two_workers):
    configs = tasks(free_ports(2))
    workers = [popen(tmp_path, "train", *LONG, TF_CONFIG=config) for config in configs]
    try:
        while " 5/16 " not in workers[0].stdout.readline():
            assert workers[0].poll() is None
        time.sleep(random.Random(killed).uniform(0, 0.5))
        workers[killed].kill()
        began = time.monotonic()
        other = workers[1 - killed]
        errors = other.communicate(timeout=60)[1]
        assert time.monotonic() - began < 15
        assert other.returncode == 3
        assert errors.startswith(f"train: worker {killed} is gone") and errors.count("\n") == 1
    finally:
        end(*workers)
    assert_goes_on(tmp_path, two_workers)


def test_other_flags_are_refused_by_all_workers_before_tensorflow_begins(tmp_path):
    configs = tasks(free_ports(2))
    workers = [
        popen(tmp_path, "train", f"--epochs={epochs}", TF_CONFIG=config)
        for epochs, config in zip((2, 3), configs, strict=True)
    ]
    said = "train: worker 1 has --epochs=3, worker 0 --epochs=2: all workers need the same flags\n"
    for worker in workers:
        assert worker.communicate(timeout=60) == ("", said)
        assert worker.returncode == 2
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("index", [0, 1])
def test_a_worker_that_does_not_come_is_waited_for_until_the_limit(index, tmp_path):
    config = tasks(free_ports(2))[index]
    status, _, err = run(tmp_path / "a", "train", "--worker_timeout=0.5", TF_CONFIG=config)
    assert status == 3
    assert err.startswith(f"train: worker {1 - index} (127.0.0.1:")
    assert err.endswith("did not connect within 0.5 s: --worker_timeout\n") and err.count("\n") == 1


def gathered(flags, seconds=20.0, late=0.0, check=lambda: None):
    """What `meet` returns to, or raises on, each worker with these flags."""
    addresses = tuple(f"127.0.0.1:{port}" for port in free_ports(len(flags)))
    ends = [None] * len(flags)

    def worker(index):
        time.sleep(late * index)
        try:
            ends[index] = meet(Cluster(addresses, index), flags[index], seconds, check)
        except Exception as error:
            ends[index] = error

    threads = [threading.Thread(target=worker, args=(k,)) for k in range(len(flags))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for lines in ends:
        for line in lines.values() if isinstance(lines, dict) else ():
            line.close()
    return ends


def test_workers_that_are_late_are_waited_for():
    ends = gathered([{}, {}, {}], late=0.4)
    assert [sorted(lines) for lines in ends] == [[1, 2], [0], [0]]


def test_a_worker_that_is_too_late_is_named_to_those_that_came():
    ends = gathered([{}, {}, {}], seconds=0.5, late=0.4)
    assert all(isinstance(error, WorkerLostError) for error in ends)
    assert all(str(error).startswith("worker 2 (") for error in ends[:2])


def test_what_the_first_worker_finds_wrong_is_told_to_all():
    def check():
        raise ValueError("run_dir a: exists already")

    assert [str(error) for error in gathered([{}, {}], check=check)] == [
        "run_dir a: exists already"
    ] * 2


def test_what_is_no_worker_is_passed_over():
    port, other = free_ports(2)
    addresses = (f"127.0.0.1:{port}", f"127.0.0.1:{other}")

    def stranger():
        for _ in range(100):
            try:
                with socket.create_connection(("127.0.0.1", port)) as connection:
                    connection.sendall(b"GET / HTTP/1.1\n")
                return
            except OSError:
                time.sleep(0.02)

    def worker():
        time.sleep(0.3)
        meet(Cluster(addresses, 1), {}, 10.0, lambda: None)[0].close()

    threads = [threading.Thread(target=f) for f in (stranger, worker)]
    for thread in threads:
        thread.start()
    lines = meet(Cluster(addresses, 0), {}, 10.0, lambda: None)
    for thread in threads:
        thread.join()
    assert list(lines) == [1]
    lines[1].close()


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


def test_the_chief_is_the_first_worker(monkeypatch):
    jobs = {"worker": ["a:1", "b:2"], "chief": ["c:3"]}
    task = {"type": "worker", "index": 1}
    monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": jobs, "task": task}))
    assert cluster() == Cluster(("c:3", "a:1", "b:2"), 2)


def test_many_workers_need_a_tf_config(monkeypatch, command):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    done = command("train", "--strategy=multi_worker")
    assert (done.status, done.err.count("\n")) == (2, 1)
    assert "needs TF_CONFIG" in done.err


def test_launch_local_reads_a_number_and_a_command():
    assert parsed(["2", "--", "train", "--a=1"]) == (2, ["-m", "trainlib.cli.train", "--a=1"])
    for wrong in (["x", "--", "train"], ["0", "--", "train"], ["2"], ["2", "--", "predict"]):
        with pytest.raises(ValueError, match="N"):
            parsed(wrong)
