"""Runs that are killed at random moments, and started again."""

from __future__ import annotations

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
    """A run in a process of its own."""

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
        """Waits until training begins: the seconds that it took."""
        assert self.process.stdout.readline() == "begun\n", self.process.stderr.read()
        return time.monotonic() - self.started

    def end(self):
        out, err = self.process.communicate(timeout=300)
        assert self.process.returncode == 0, err
        return json.loads(out.splitlines()[-1])

    def kill(self):
        """Whether it was still running."""
        self.process.kill()
        self.process.communicate()
        return self.process.returncode == -9


@functools.cache
def unbroken(precision):
    """What a run comes to, and how long it trains."""
    with tempfile.TemporaryDirectory() as folder:
        run = Process(Path(folder), precision)
        run.begin()
        began = time.monotonic()
        return run.end(), time.monotonic() - began


def killed_until(kills, precision, folder, generator):
    """Kills runs at random moments, until it has done so as often as it is to; their ends."""
    expected, seconds = unbroken(precision)
    count = done = 0
    while done < kills:
        count += 1
        for _ in range(generator.randint(1, 4)):
            run = Process(folder / f"broken_{count}", precision)
            if generator.random() < 0.8:  # most of them within training
                run.begin()
            time.sleep(generator.uniform(0, seconds))
            done += run.kill()
        yield Process(folder / f"broken_{count}", precision).end(), expected


@pytest.mark.soak
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("seed", range(5))
def test_a_hundred_kills_change_no_bit(precision, seed, tmp_path):
    for found, expected in killed_until(10, precision, tmp_path, random.Random(seed)):
        assert found == expected
    assert expected["history"][-1]["learning_rate"] < 2**-7  # the plateau was there
