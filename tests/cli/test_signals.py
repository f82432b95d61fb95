"""Signals during, before and after training."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from types import SimpleNamespace

import pytest

import trainlib.cli.signals as signals_module
from trainlib.cli.exit_status import INTERRUPTED, SAVED, InterruptedRunError
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
    ("number", "exit_status"), [(signal.SIGTERM, SAVED), (signal.SIGINT, INTERRUPTED)]
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
    ("number", "error"),
    [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, InterruptedRunError)],
)
def test_a_signal_outside_of_training_ends_the_command(number, error):
    with StopOnSignal(), pytest.raises(error) as raised:
        signal.raise_signal(number)
    if number is signal.SIGTERM:
        assert raised.value.status == 128 + signal.SIGTERM


def test_the_handlers_before_are_restored():
    before = [signal.getsignal(number) for number in signals_module.SIGNALS]
    with StopOnSignal():
        assert signal.getsignal(signal.SIGTERM) != before[1]
    assert [signal.getsignal(number) for number in signals_module.SIGNALS] == before


def test_a_resumed_run_says_where_it_starts(capsys):
    StopOnSignal().on_train_begin(status())
    StopOnSignal().on_train_begin(status(batch=0, epoch=1))
    StopOnSignal().on_train_begin(status(steps_per_epoch=None, batch=1234))
    assert capsys.readouterr().out.splitlines() == [
        "resuming in epoch 2 of 3, after batch 5 of 10",
        "resuming after epoch 1 of 3",
        "resuming in epoch 2 of 3, after batch 1,234",
    ]
