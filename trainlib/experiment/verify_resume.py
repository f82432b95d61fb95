"""Check that an experiment ends in the same bits when it is stopped and resumed.

unbroken: 2k batches
broken:   k batches, then, in a new process, k more from the checkpoint
"""

from __future__ import annotations

import dataclasses
import json
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from trainlib.core.checks import check_integer
from trainlib.experiment import run_folder
from trainlib.experiment.config import ExperimentConfig
from trainlib.experiment.partial_run import FINISHED, STOPPED
from trainlib.training.checkpoints import Checkpoint, Checkpoints
from trainlib.training.processes import python_module


class DifferentBitsError(Exception):
    """The unbroken and the broken run ended in different bits."""


def verify_resume(config: ExperimentConfig, steps: int, log: Callable[[str], Any]) -> str:
    """Run an experiment unbroken and broken, in three processes, and compare the ends.

    The run folders are temporary.

    Args:
        config: the experiment.
        steps: batches before the break, and after it, at least 1.
        log: called with lines on the progress.

    Returns:
        A line on what was compared.

    Raises:
        ValueError, TypeError: the run is too short for so many batches; or what `run_experiment`
            refuses.
        DifferentBitsError: names the first tensor whose bits differ.
    """
    check_integer("verify_steps", steps, at_least=1)
    if config.tensorboard is not None:  # events must not join those of other runs
        config = dataclasses.replace(
            config, tensorboard=dataclasses.replace(config.tensorboard, dir=None)
        )
    with tempfile.TemporaryDirectory() as temporary:
        unbroken, broken = Path(temporary, "unbroken"), Path(temporary, "broken")
        log(f"verify_resume: {2 * steps} batches without a break ...")
        _run_part(config, unbroken, 2 * steps)
        log(f"verify_resume: {steps} batches, a new process, and {steps} more ...")
        # The first run has resolved "auto"; the second one takes the same values.
        config = run_folder.read_config(unbroken)
        _run_part(config, broken, steps)
        _run_part(config, broken, 2 * steps, resume=True)
        ends = [_newest(path) for path in (unbroken, broken)]
    compare(*ends)
    size = sum(x.nbytes for x in ends[0].values.values())
    return (
        f"verify_resume: {steps} + {steps} batches gave the same bits as {2 * steps}: "
        f"{len(ends[0].values)} tensors, {size:,} bytes"
    )


def compare(unbroken: Checkpoint, broken: Checkpoint) -> None:
    """Raise `DifferentBitsError` for the first thing in which two checkpoints differ."""
    if unbroken.position != broken.position:
        raise DifferentBitsError(
            f"the unbroken run ended at {unbroken.position}, the resumed one at {broken.position}"
        )
    for name in sorted({*unbroken.values, *broken.values}):
        a, b = (end.values.get(name) for end in (unbroken, broken))
        if a is None or b is None:
            raise DifferentBitsError(f"{name} is in one of the two checkpoints only")
        if a.tobytes() != b.tobytes():
            raise DifferentBitsError(f"{name} differs: {_difference(a, b)}")
    histories = [
        [{k: x for k, x in line.items() if k != "seconds"} for line in end.metadata["history"]]
        for end in (unbroken, broken)
    ]
    if repr(histories[0]) != repr(histories[1]):
        raise DifferentBitsError(f"the history differs: {histories[0]}, resumed {histories[1]}")


def _difference(a: np.ndarray, b: np.ndarray) -> str:
    """Return in words how far two tensors are apart."""
    unequal = np.ravel(a != b)
    largest = np.max(np.abs(np.ravel(a)[unequal] - np.ravel(b)[unequal]), initial=0)
    return f"{np.count_nonzero(unequal)} of {a.size} values, by {float(largest):.3g} at most"


def _run_part(
    config: ExperimentConfig, folder: Path, stop_after: int, resume: bool = False
) -> None:
    """Run an experiment in a new process until a batch."""
    part = {
        "config": config.to_json(),
        "folder": str(folder),
        "stop_after": stop_after,
        "resume": resume,
    }
    command = python_module("trainlib.experiment.partial_run")
    done = subprocess.run(
        command, input=json.dumps(part), capture_output=True, text=True, check=False
    )
    if done.returncode == FINISHED:
        raise ValueError("the run has too few batches for so many verify_steps: give fewer")
    if done.returncode != STOPPED:
        raise ValueError((done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1])


def _newest(folder: Path) -> Checkpoint:
    found = Checkpoints(folder / run_folder.CHECKPOINTS).newest()
    assert found is not None
    return found
