"""Liveness of workers that are two ends of a socket pair in this process."""

from __future__ import annotations

import contextlib
import socket
import threading
import time

import pytest
import tensorflow as tf

from trainlib.cli.distributed import liveness
from trainlib.cli.distributed.connection import Connection
from trainlib.cli.distributed.liveness import Liveness
from trainlib.cli.errors import InterruptedRunError, WorkerLostError


@pytest.fixture
def pair(monkeypatch):
    """The liveness of worker 0 and of worker 1; a loss does not end the test's process."""
    monkeypatch.setattr(liveness, "exit_immediately", lambda status: None)
    monkeypatch.setattr(liveness, "GRACE_SECONDS", 60.0)
    ends = socket.socketpair()
    first, second = map(Connection, ends)
    both = Liveness({1: first}), Liveness({0: second})
    yield both
    for one in both:
        one.close()


def guarded(one, work):
    """Run work inside a guard; return the error it raises."""
    try:
        with one.guard():
            work()
    except Exception as error:
        return error
    return None


def fail(error):
    raise error


def test_workers_that_are_done_do_not_miss_each_other(pair):
    outcomes = []
    threads = [
        threading.Thread(target=lambda one=one: outcomes.append(guarded(one, lambda: None)))
        for one in pair
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert outcomes == [None, None]


@pytest.mark.parametrize("index", [0, 1])
def test_a_worker_that_is_done_waits_for_the_other(index, pair):
    done = threading.Thread(target=guarded, args=(pair[index], lambda: None))
    done.start()
    done.join(0.3)
    assert done.is_alive()
    guarded(pair[1 - index], lambda: None)
    done.join(10)
    assert not done.is_alive()


def test_an_error_after_a_loss_names_the_lost_worker(pair):
    first, second = pair
    second.close()
    error = guarded(first, lambda: fail(RuntimeError("a collective operation failed")))
    assert isinstance(error, WorkerLostError)
    assert str(error) == "worker 1 is lost: see its own output, then start all workers again"
    assert isinstance(error.__cause__, RuntimeError)


def test_a_connection_error_of_tensorflow_without_a_noticed_loss_is_one_too(pair, monkeypatch):
    monkeypatch.setattr(liveness, "NAMING_SECONDS", 0.05)
    unavailable = tf.errors.UnavailableError(None, None, "no answer")
    error = guarded(pair[0], lambda: fail(unavailable))
    assert isinstance(error, WorkerLostError)
    assert str(error) == "another worker does not answer: no answer"


@pytest.mark.parametrize("error", [ValueError("bad"), InterruptedRunError("stopped", 75)])
def test_errors_of_this_worker_stay_what_they_are(error, pair, monkeypatch):
    monkeypatch.setattr(liveness, "FAREWELL_SECONDS", 0.05)
    assert guarded(pair[0], lambda: fail(error)) is error


def test_all_workers_pass_the_start_barrier_together(pair, monkeypatch):
    monkeypatch.setattr(liveness, "watchdog", lambda seconds, message: contextlib.nullcontext())
    monkeypatch.setattr(liveness.signal, "signal", lambda number, handler: None)
    passed = []

    def start(index):
        with pair[index].start_barrier():
            passed.append(time.monotonic())

    late = threading.Thread(target=start, args=(0,))
    early = threading.Thread(target=start, args=(1,))
    early.start()
    time.sleep(0.3)
    assert passed == []
    late.start()
    early.join(10)
    late.join(10)
    assert len(passed) == 2


def test_a_loss_before_the_start_is_raised_at_the_barrier(pair):
    first, second = pair
    second.close()
    with pytest.raises(WorkerLostError, match="worker 1 is lost"), first.start_barrier():
        pytest.fail("the barrier was passed")


def test_workers_with_other_data_do_not_pass_the_start_barrier(pair):
    messages = []

    def start(index):
        with pytest.raises(ValueError) as error, pair[index].start_barrier(lambda: f"hash {index}"):
            pytest.fail("the barrier was passed")
        messages.append(str(error.value))

    threads = [threading.Thread(target=start, args=[index]) for index in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    message = "the data of worker 1 differ from those of worker 0: give all workers the same files"
    assert messages == [message] * 2


def test_a_message_that_is_not_expected_is_a_loss(pair, monkeypatch):
    monkeypatch.setattr(liveness, "NAMING_SECONDS", 5.0)
    pair[0].connections[1].socket.sendall(b"[" * 100_000 + b"\n")  # deeper than JSON is read
    error = guarded(pair[1], lambda: fail(RuntimeError("a collective operation failed")))
    assert str(error).startswith("worker 0 is lost")


def test_a_silent_worker_is_lost_and_one_that_shows_that_it_is_alive_is_not(monkeypatch):
    monkeypatch.setattr(liveness, "exit_immediately", lambda status: None)
    monkeypatch.setattr(liveness, "GRACE_SECONDS", 60.0)
    monkeypatch.setattr(liveness, "SILENCE_SECONDS", 0.8)
    monkeypatch.setattr(liveness, "ALIVE_SECONDS", 0.1)
    (first, silent), (second, third) = socket.socketpair(), socket.socketpair()
    watching = Liveness({1: Connection(first), 2: Connection(second)})
    alive = Liveness({0: Connection(third)})
    began = time.monotonic()
    error = guarded(watching, lambda: fail(RuntimeError("a collective operation failed")))
    assert str(error).startswith("worker 1 is lost")
    assert time.monotonic() - began < 3
    for one in (watching, alive):
        one.close()
    silent.close()
