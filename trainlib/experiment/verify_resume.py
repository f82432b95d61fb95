"""Check that an experiment ends in the same bits when it is stopped and resumed.

uninterrupted: 2k batches
resumed:       k batches; then, in a new process, k more from the checkpoint
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
    """The uninterrupted and the resumed run ended in different bits."""


def verify_resume(config: ExperimentConfig, steps: int, log: Callable[[str], Any]) -> str:
    """Run an experiment with and without an interruption, and compare the final checkpoints.

    The three parts run in separate processes, in temporary run folders.

    Args:
        config: the experiment.
        steps: number of batches before and after the interruption, at least 1.
        log: function called with lines on the progress.

    Returns:
        A line on the number of compared tensors and bytes.

    Raises:
        ValueError, TypeError: the run is too short; or as for `run_experiment`.
        DifferentBitsError: the checkpoints differ; the message names the first tensor.
    """
    check_integer("verify_steps", steps, at_least=1)
    if config.tensorboard is not None:  # events must not join those of other runs
        config = dataclasses.replace(
            config, tensorboard=dataclasses.replace(config.tensorboard, dir=None)
        )
    with tempfile.TemporaryDirectory() as temporary:
        uninterrupted, resumed = Path(temporary, "uninterrupted"), Path(temporary, "resumed")
        log(f"verify_resume: {2 * steps} batches without a break ...")
        _run_part(config, uninterrupted, 2 * steps)
        log(f"verify_resume: {steps} batches, a new process, and {steps} more ...")
        # The first run has resolved "auto"; the second one takes the same values.
        config = run_folder.read_config(uninterrupted)
        _run_part(config, resumed, steps)
        _run_part(config, resumed, 2 * steps, resume=True)
        ends = [_newest(path) for path in (uninterrupted, resumed)]
    compare(*ends)
    size = sum(x.nbytes for x in ends[0].values.values())
    return (
        f"verify_resume: {steps} + {steps} batches gave the same bits as {2 * steps}: "
        f"{len(ends[0].values)} tensors, {size:,} bytes"
    )


def compare(uninterrupted: Checkpoint, resumed: Checkpoint) -> None:
    """Raise `DifferentBitsError` for the first difference between two checkpoints."""
    if uninterrupted.position != resumed.position:
        raise DifferentBitsError(
            f"the uninterrupted run ended at {uninterrupted.position}, the resumed one at "
            f"{resumed.position}"
        )
    for name in sorted({*uninterrupted.values, *resumed.values}):
        a, b = (end.values.get(name) for end in (uninterrupted, resumed))
        if a is None or b is None:
            raise DifferentBitsError(f"{name} is in one of the two checkpoints only")
        if a.tobytes() != b.tobytes():
            raise DifferentBitsError(f"{name} differs: {_difference(a, b)}")
    histories = [
        [{k: x for k, x in line.items() if k != "seconds"} for line in end.metadata["history"]]
        for end in (uninterrupted, resumed)
    ]
    if repr(histories[0]) != repr(histories[1]):
        raise DifferentBitsError(f"the history differs: {histories[0]}, resumed {histories[1]}")


def _difference(a: np.ndarray, b: np.ndarray) -> str:
    """Describe the difference between two tensors."""
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
