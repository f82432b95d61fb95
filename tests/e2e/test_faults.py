"""A run meets a fault in each of its phases: it ends with its status and one line, and goes on.

A hook at the function that begins a phase makes the fault; the processes are forked, so that each
costs a second. The table of docs/reliability.md is what this file asserts.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from pathlib import Path

import pytest
from helpers.commands import errors_in
from helpers.fork_server import Ended, ForkServer

pytestmark = [
    pytest.mark.soak,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="faults of Linux"),
]
FLAGS = ("--train_examples=100", "--hidden=8", "--epochs=3", "--execution=graph") + (
    "--checkpoint_steps=2",
)
PHASES = {
    "data": "trainlib.experiment.run:build_task",
    "building": "trainlib.experiment.preparation:build_models",
    "tracing": "trainlib.experiment.preparation:build_trainer",
    "step": "trainlib.training.loop:TrainingLoop._train_chunk",
    "validation": "trainlib.training.loop:TrainingLoop._validate",
    "checkpoint": "trainlib.training.checkpoints:Checkpoints.save",
    "evaluation": "trainlib.experiment.run:evaluate_parts",
    "model.keras": "trainlib.experiment.run:write_model_and_summary",
    "report": "trainlib.experiment.run:write_report_from_memory",
}
"""The function that begins each phase."""
TRAINING = ("step", "validation", "checkpoint")
"""Phases that a run has several times; the fault comes at the second."""
HOOK = """
import errno, importlib, os, signal
module, _, name = {place!r}.partition(":")
owner, *parts = importlib.import_module(module), *name.split(".")
for part in parts[:-1]:
    owner = getattr(owner, part)
wrapped, calls = getattr(owner, parts[-1]), []
def hook(*args, **options):
    calls.append(1)
    if len(calls) == {call}:
        {fault}
    return wrapped(*args, **options)
setattr(owner, parts[-1], hook)
"""


@pytest.fixture(scope="module")
def whole(server: ForkServer, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The hash of the parameters of the run that meets no fault."""
    folder = tmp_path_factory.mktemp("whole")
    assert train(server, folder).status == 0
    return params(folder)


def train(server: ForkServer, folder: Path, *flags: str, **options: object) -> Ended:
    """Train in a folder; `hook` is the place of a fault, `fault` a statement."""
    place, fault = options.pop("hook", None), options.pop("fault", None)
    call = 2 if place in (PHASES[name] for name in TRAINING) else 1
    code = HOOK.format(place=place, fault=fault, call=call) if place else ""
    code = str(options.pop("code", "")) + code
    given = flags or (*FLAGS, "--run_dir=run")
    return server.run(folder, "train", *given, code=code, **options)


def params(folder: Path) -> str:
    """Return the hash of a finished run's parameters."""
    return str(json.loads((folder / "run" / "summary.json").read_text())["params_sha256"])


def assert_goes_on(server: ForkServer, folder: Path, whole: str) -> None:
    """Assert that a run, resumed or run again, ends in the bits of the one without a fault."""
    run = folder / "run"
    begun = (run / "config.json").is_file()
    if not begun:
        shutil.rmtree(run, ignore_errors=True)
    if not (run / "summary.json").is_file():
        done = train(server, folder, *(["--resume=run"] if begun else ()))
        assert done.status == 0, done.err
    assert params(folder) == whole
    assert (run / "model.keras").is_file()
    assert not list(run.glob(".*.*"))


def one_line(done: Ended) -> str:
    """Return the last line on stderr; before it is only that a signal has arrived."""
    *before, last = errors_in(done.err).splitlines()
    assert all("saving a checkpoint" in line for line in before), done.err
    assert last.startswith("train: ")
    return last


@pytest.mark.parametrize("phase", PHASES)
def test_a_kill_loses_no_more_than_the_steps_since_a_checkpoint(phase, server, whole, tmp_path):
    kill = "os.kill(os.getpid(), signal.SIGKILL)"
    done = train(server, tmp_path, hook=PHASES[phase], fault=kill)
    assert done.status == -signal.SIGKILL
    assert_goes_on(server, tmp_path, whole)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 75), (signal.SIGINT, 130)])
@pytest.mark.parametrize("phase", PHASES)
def test_a_signal_ends_a_run_with_one_line_on_how_to_go_on(
    phase, number, status, server, whole, tmp_path
):
    send = f"os.kill(os.getpid(), {int(number)})"
    done = train(server, tmp_path, hook=PHASES[phase], fault=send)
    assert done.status == status, done.err
    line = one_line(done)
    begun = (tmp_path / "run").is_dir()
    if begun:
        command = "report run" if phase == "report" else "train --resume=run"
        assert line.endswith(command), line
    assert_goes_on(server, tmp_path, whole)


@pytest.mark.parametrize("error", ["ENOSPC", "EROFS"])
@pytest.mark.parametrize("phase", ["checkpoint", "model.keras"])
def test_a_disk_that_is_full_or_read_only_ends_a_run_with_one_line(
    phase, error, server, whole, tmp_path
):
    fault = f"raise OSError(errno.{error}, os.strerror(errno.{error}), 'a file')"
    done = train(server, tmp_path, hook=PHASES[phase], fault=fault)
    assert done.status == 2
    assert os.strerror(getattr(__import__("errno"), error)) in one_line(done)
    assert_goes_on(server, tmp_path, whole)


LIMIT = "import resource; resource.setrlimit(resource.{}, ({}, {}));"


def test_a_run_is_content_with_64_descriptors(server, whole, tmp_path):
    done = train(server, tmp_path, code=LIMIT.format("RLIMIT_NOFILE", 64, 64))
    assert done.status == 0, done.err
    assert params(tmp_path) == whole


def test_too_little_address_space_is_one_line_or_no_hindrance(server, tmp_path):
    # Two GiB more than a process with TensorFlow has; the first kernel alone takes 1.5.
    limit = "int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize() + 2**31"
    done = train(
        server,
        tmp_path,
        *FLAGS,
        "--hidden=20000,20000",
        "--run_dir=run",
        code=LIMIT.format("RLIMIT_AS", limit, limit),
    )
    assert done.status == 2
    assert "GiB" in one_line(done) or "not enough memory" in one_line(done)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "variables",
    [
        {"HOME": None, "TRAINLIB_CACHE": None, "XDG_CACHE_HOME": None},
        {"HOME": "/proc/none"},
        {"TRAINLIB_CACHE": "/proc/none"},
        {"TMPDIR": "/proc/none", "TEMP": "/proc/none", "TMP": "/proc/none"},
    ],
    ids=["no HOME", "HOME read-only", "cache read-only", "TMPDIR read-only"],
)
def test_a_run_needs_no_home_no_cache_and_no_temporary_folder(variables, server, whole, tmp_path):
    done = train(server, tmp_path, **variables)
    assert done.status == 0, done.err
    assert params(tmp_path) == whole


@pytest.mark.parametrize("content", ["", "{", "[]", "[" * 99_999, "\0"])
def test_a_damaged_cache_is_no_hindrance(content, server, tmp_path):
    cache = tmp_path / "cache"
    flags = (*(x for x in FLAGS if "execution" not in x), "--epochs=200", "--run_dir=run")
    assert train(server, tmp_path, *flags, TRAINLIB_CACHE=str(cache)).status == 0
    for file in cache.rglob("*"):
        if file.is_file():
            file.write_text(content)
    shutil.rmtree(tmp_path / "run")
    done = train(server, tmp_path, *flags, TRAINLIB_CACHE=str(cache))
    assert (done.status, done.errors) == (0, "")


@pytest.mark.parametrize("name", ["/dev/full", "closed"])
def test_a_run_goes_on_without_its_standard_output(name, server, whole, tmp_path):
    options = {"code": "import os; os.close(1)"} if name == "closed" else {"stdout": Path(name)}
    done = train(server, tmp_path, **options)
    assert (done.status, done.errors) == (0, "")
    assert params(tmp_path) == whole


@pytest.mark.parametrize("hours", [-24, 24])
def test_a_clock_that_jumps_changes_nothing(hours, server, whole, tmp_path):
    jump = f"import time; now = time.time; time.time = lambda: now() + 3600 * {hours}"
    flags = (*FLAGS, "--run_dir=run", "--tensorboard")
    done = train(server, tmp_path, *flags, hook=PHASES["step"], fault=jump)
    assert (done.status, done.errors) == (0, "")
    assert params(tmp_path) == whole


def test_two_runs_into_one_folder_are_one_run_and_one_line(server, whole, tmp_path):
    second = (
        "import subprocess, sys; done = subprocess.run([sys.executable, '-m', "
        f"'trainlib.cli.train', *{[*FLAGS, '--run_dir=run']!r}], capture_output=True, text=True); "
        "open('second', 'w').write(f'{done.returncode} {done.stderr}')"
    )
    done = train(server, tmp_path, hook=PHASES["step"], fault=second, limit=120)
    assert done.status == 0, done.err
    text = (tmp_path / "second").read_text()
    assert text.startswith("2 train: --run_dir run: exists already")
    assert params(tmp_path) == whole


def test_checkpoints_that_are_deleted_under_a_run_end_it_in_one_line_or_are_made_again(
    server, tmp_path
):
    fault = "__import__('shutil').rmtree('run/checkpoints')"
    done = train(server, tmp_path, hook=PHASES["step"], fault=fault)
    assert done.status in (0, 2), done.err
    assert done.status == 0 or one_line(done)
