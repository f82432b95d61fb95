"""Signals during, before and after training."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from types import SimpleNamespace

import pytest

import trainlib.cli.signals as signals_module
from trainlib.cli.errors import InterruptedRunError, Terminated, interrupted_status, status_of
from trainlib.cli.exit_status import INTERRUPTED, STOPPED
from trainlib.cli.signals import StopOnSignal
from trainlib.training.callback import Save, Stop


def status(**changes):
    """The status of a run in its second epoch."""
    fields = {"epoch": 2, "epochs": 3, "batch": 5, "steps_per_epoch": 10, "global_batch": 15}
    return SimpleNamespace(**{**fields, "stop": None, **changes})


def test_a_second_interrupt_ends_the_process_even_while_the_first_is_handled(monkeypatch):
    written, ended = [], []

    def write(file, text):
        written.append(text)
        if len(written) == 1:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(os, "write", write)
    monkeypatch.setattr(signals_module, "exit_immediately", ended.append)
    with StopOnSignal() as stop_on_signal:
        stop_on_signal.on_train_begin(status(global_batch=0))
        signal.raise_signal(signal.SIGINT)
    assert written == [
        b"\ntrain: SIGINT, saving a checkpoint ...\n",
        b"\ntrain: interrupted immediately, without a checkpoint\n",
    ]
    assert ended == [INTERRUPTED]


@pytest.mark.parametrize(
    ("number", "exit_status"), [(signal.SIGTERM, STOPPED), (signal.SIGINT, INTERRUPTED)]
)
def test_a_signal_stops_training_with_a_checkpoint(number, exit_status, capfd):
    with StopOnSignal() as stop_on_signal:
        stop_on_signal.on_train_begin(status(global_batch=0))
        assert stop_on_signal.on_train_batch_end(status()) is None
        signal.raise_signal(number)
        save, stop = stop_on_signal.on_train_batch_end(status())
        assert (save, stop) == (Save(), Stop(number.name, resumable=True))
        stop_on_signal.on_train_end(status(stop=stop))
    assert stop_on_signal.stopped_resumable
    with pytest.raises(InterruptedRunError) as error:
        stop_on_signal.raise_if_stopped(Path("runs/a"))
    assert error.value.status == exit_status
    assert str(error.value) == (
        f"{number.name}: stopped in epoch 2 of 3, after batch 5 of 10; "
        "resume with: train --resume=runs/a"
    )


def test_a_finished_run_is_not_interrupted():
    callback = StopOnSignal()
    callback.on_train_end(status())
    assert not callback.stopped_resumable
    callback.raise_if_stopped(None)


@pytest.mark.parametrize(
    ("number", "exit_status"),
    [(signal.SIGINT, 130), (signal.SIGTERM, 75)],
)
def test_a_signal_outside_of_training_ends_the_command(number, exit_status):
    with StopOnSignal(), pytest.raises(KeyboardInterrupt) as raised:
        signal.raise_signal(number)
    assert status_of(raised.value) == exit_status


@pytest.mark.parametrize(
    ("number", "line"),
    [
        (signal.SIGINT, (130, "toy: interrupted\n")),
        (signal.SIGTERM, (75, "toy: SIGTERM: not done; run it again\n")),
    ],
)
def test_a_signal_ends_any_command_with_one_line(number, line, toy):
    before = signal.getsignal(number)
    done = toy(work=lambda values: signal.raise_signal(number))
    assert (done.status, done.err) == line
    assert signal.getsignal(number) is before


def test_an_interrupt_that_sigterm_caused_has_its_status():
    try:
        try:
            raise Terminated
        except KeyboardInterrupt:
            raise KeyboardInterrupt("of a search") from None
    except KeyboardInterrupt as error:
        assert interrupted_status(error) == 75
    assert interrupted_status(KeyboardInterrupt()) == 130


def test_the_handlers_before_are_restored():
    before = [signal.getsignal(number) for number in signals_module.SIGNALS]
    with StopOnSignal():
        assert signal.getsignal(signal.SIGTERM) != before[1]
    assert [signal.getsignal(number) for number in signals_module.SIGNALS] == before


def test_a_resumed_run_says_where_it_starts(capsys):
    StopOnSignal().on_train_begin(status())
    StopOnSignal().on_train_begin(status(batch=0, epoch=1))
    StopOnSignal().on_train_begin(status(steps_per_epoch=None, batch=1234))
    assert capsys.readouterr().err.splitlines() == [
        "resuming in epoch 2 of 3, after batch 5 of 10",
        "resuming after epoch 1 of 3",
        "resuming in epoch 2 of 3, after batch 1,234",
    ]
