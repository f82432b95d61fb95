"""Jobs in this process and in several: results, failures, and the end of the processes."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from helpers.processes import started_python

from trainlib.experiment.jobs import run_jobs, share_of_cores

JOB = """
import os, signal, sys, time

def job(state, argument):
    state["calls"] = state.get("calls", 0) + 1
    if argument == "raise":
        raise RuntimeError("as\\ntold")
    if argument == "exit":
        sys.exit(3)
    if argument == "kill":
        print("the last words", flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    if argument == "unpicklable":
        return lambda: 0
    if argument == "threads":
        return os.environ["TF_NUM_INTRAOP_THREADS"], os.environ["OMP_NUM_THREADS"]
    if argument == "sleep":
        open(f"{os.getpid()}.started", "w").close()
        time.sleep(60)
    return os.getpid(), state["calls"]
"""
CALLER = """
import sys, types
import trainlib

package = types.ModuleType("trainlib.experiment")  # without its modules, which take seconds
package.__path__ = [trainlib.__path__[0] + "/experiment"]
sys.modules[package.__name__] = package
from trainlib.experiment.jobs import run_jobs
from jobs_of_test import job

for result in run_jobs(job, dict, ["now", *["sleep"] * 4], jobs=2):
    print(result.position, result.failure, flush=True)
"""


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A function of a custom module; the working directory holds a module named as Python's."""
    monkeypatch.delitem(sys.modules, "jobs_of_test", raising=False)
    (tmp_path / "jobs_of_test.py").write_text(JOB)
    (tmp_path / "queue.py").write_text("raise ImportError('not that of Python')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    import jobs_of_test

    (tmp_path / "queue.py").unlink()
    return jobs_of_test.job


def test_one_job_at_a_time_runs_in_this_process(job):
    results = list(run_jobs(job, dict, iter("abc")))
    assert [x.position for x in results] == [0, 1, 2]
    assert [x.value for x in results] == [(os.getpid(), n) for n in (1, 2, 3)]


def test_an_exception_is_a_failure_of_its_job_only(job):
    failed, exited, done = run_jobs(job, dict, ["raise", "exit", "a"])
    assert failed.value is None and str(failed.failure) == "RuntimeError: as told"
    assert "in job" in failed.failure.traceback
    assert str(exited.failure) == "SystemExit: 3"
    assert done.failure is None


def test_an_interrupt_is_not_a_failure():
    def interrupted(state: object, argument: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(run_jobs(interrupted, dict, [1]))


def test_processes_keep_their_state_and_share_the_jobs(job):
    results = list(run_jobs(job, dict, ["a"] * 8, jobs=2))
    assert sorted(x.position for x in results) == list(range(8))
    calls: dict[int, list[int]] = {}
    for result in results:
        process, call = result.value
        calls.setdefault(process, []).append(call)
    assert os.getpid() not in calls and 1 <= len(calls) <= 2
    for numbers in calls.values():
        assert numbers == list(range(1, len(numbers) + 1))


def test_failures_in_processes_are_recorded_and_a_dead_process_is_replaced(job):
    arguments = ["kill", "raise", "exit", "unpicklable", "kill", "a"]
    results = {x.position: x for x in run_jobs(job, dict, arguments, jobs=2)}
    assert sorted(results) == [0, 1, 2, 3, 4, 5]
    for position in (0, 4):
        died = results[position].failure
        assert died.type == "ProcessDied" and "SIGKILL" in died.message
        assert died.traceback == "the last words\n"
    assert str(results[1].failure) == "RuntimeError: as told"
    assert str(results[2].failure) == "SystemExit: 3"
    assert "pickle" in str(results[3].failure)
    assert results[5].failure is None


def test_a_process_has_its_share_of_the_cores(job, monkeypatch):
    cores = len(os.sched_getaffinity(0))
    monkeypatch.delenv("TF_NUM_INTRAOP_THREADS", raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "7")  # what the user sets is kept
    (result,) = run_jobs(job, dict, ["threads"], jobs=2)
    assert result.value == (str(max(1, cores // 2)), "7")
    assert share_of_cores(1) == cores and share_of_cores(2 * cores) == 1


@pytest.mark.parametrize("jobs", [1, 2])
def test_the_next_argument_may_depend_on_the_results(job, jobs):
    seen: list[int] = []

    def arguments() -> Any:
        yield "a"
        if jobs == 2:
            yield "a"
        yield "a" if seen else "raise"

    for result in run_jobs(job, dict, arguments(), jobs=jobs):
        assert result.failure is None
        seen.append(result.position)
    assert len(seen) == jobs + 1


def test_a_closed_iterator_ends_its_processes(job, tmp_path):
    results = run_jobs(job, dict, ["a", "sleep", "sleep"], jobs=2)
    process, _ = next(results).value
    started = time.monotonic()
    results.close()
    assert not is_alive(process)
    assert time.monotonic() - started < 4


def test_an_interrupt_ends_the_processes(job, tmp_path):
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    interrupt = threading.Thread(
        target=lambda: signal_when_started(tmp_path, os.getpid(), signal.SIGINT)
    )
    finished = []
    try:
        with pytest.raises(KeyboardInterrupt):
            for result in run_jobs(job, dict, ["a", *["sleep"] * 4], jobs=2):
                finished.append(result.position)
                interrupt.start()
    finally:
        signal.signal(signal.SIGINT, previous)
    assert finished == [0]
    assert not any(map(is_alive, started_in(tmp_path)))


def test_no_process_survives_its_caller(job, tmp_path):
    (tmp_path / "caller.py").write_text(CALLER)
    with started_python("caller.py", cwd=tmp_path) as caller:
        assert caller.stdout.readline() == "0 None\n", caller.stderr.read()
        signal_when_started(tmp_path, caller.pid, signal.SIGKILL)
        wait_until(lambda: not any(map(is_alive, started_in(tmp_path))))
        assert caller.stdout.read() == ""  # no new job was finished


def signal_when_started(folder: Path, process: int, number: int) -> None:
    """Signal a process once two of its jobs sleep."""
    wait_until(lambda: len(started_in(folder)) == 2)
    assert all(map(is_alive, started_in(folder)))
    os.kill(process, number)


def started_in(folder: Path) -> list[int]:
    """The processes whose jobs sleep."""
    return [int(path.stem) for path in folder.glob("*.started")]


def wait_until(condition: Any) -> None:
    """Wait until a condition holds, 20 seconds at most."""
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def is_alive(process: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state not in "ZX"


@pytest.mark.parametrize(("jobs", "error"), [(0, ValueError), (1.5, TypeError)])
def test_the_number_of_jobs_is_a_positive_integer(job, jobs, error):
    with pytest.raises(error, match="jobs"):
        run_jobs(job, dict, [], jobs=jobs)
