"""What `train` hears while it trains."""

from __future__ import annotations

import os
import signal
from types import SimpleNamespace

import trainlib.cli.signals as module
from trainlib.cli.exit_status import INTERRUPTED


def test_an_interrupt_while_the_first_is_told_ends_the_process(monkeypatch):
    told, ended = [], []

    def write(file, text):
        told.append(text)
        if len(told) == 1:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(os, "write", write)
    monkeypatch.setattr(module, "exit_immediately", ended.append)
    with module.Signals() as signals:
        signals.on_train_begin(SimpleNamespace(global_batch=0))
        signal.raise_signal(signal.SIGINT)
    assert told == [
        b"\ntrain: SIGINT, saving a checkpoint ...\n",
        b"\ntrain: interrupted at once\n",
    ]
    assert ended == [INTERRUPTED]
