"""Runs that are killed at random moments and resumed."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent / "killed_run.py"
PRECISIONS = ("float32", "mixed_float16")


class Process:
    """A run in a separate process."""

    def __init__(self, folder, precision):
        folder.mkdir(exist_ok=True)
        self.started = time.monotonic()
        self.process = subprocess.Popen(
            [sys.executable, str(SCRIPT), str(folder), precision],
            env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def begin(self):
        """Wait until training begins, and return the seconds it took."""
        assert self.process.stdout.readline() == "begun\n", self.process.stderr.read()
        return time.monotonic() - self.started

    def end(self):
        out, err = self.process.communicate(timeout=300)
        assert self.process.returncode == 0, err
        return json.loads(out.splitlines()[-1])

    def kill_after(self, seconds):
        """Kill the process after some seconds, unless it ends before; return whether it was."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(seconds)
        self.process.kill()
        self.process.communicate()
        return self.process.returncode == -9


@functools.cache
def uninterrupted(precision):
    """The results of a run that is not killed, and how long it trains."""
    with tempfile.TemporaryDirectory() as folder:
        run = Process(Path(folder), precision)
        run.begin()
        began = time.monotonic()
        return run.end(), time.monotonic() - began


def killed_until(kills, precision, folder, generator):
    """Kill runs at random moments until `kills` are done; yield their results and the expected.

    A run that ends before it is killed halves the time within which the next are: the machine may
    be less busy than it was when the time was measured.
    """
    expected, seconds = uninterrupted(precision)
    count = done = 0
    while done < kills:
        count += 1
        for _ in range(generator.randint(1, 4)):
            run = Process(folder / f"killed_{count}", precision)
            if generator.random() < 0.8:  # most kills come within training
                run.begin()
            killed = run.kill_after(generator.uniform(0, seconds))
            done += killed
            seconds = seconds if killed else seconds / 2
        yield Process(folder / f"killed_{count}", precision).end(), expected


@pytest.mark.soak
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("seed", range(5))
def test_a_hundred_kills_change_no_bit(precision, seed, tmp_path):
    for found, expected in killed_until(10, precision, tmp_path, random.Random(seed)):
        assert found == expected
    assert expected["history"][-1]["learning_rate"] < 2**-7  # the plateau was there
