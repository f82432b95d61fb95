"""`train --verify_resume`: whether a run with one's flags comes to the same bits when it is broken.

whole:   2k batches
halves:  k batches, and then in another process k more from the checkpoint
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from trainlib.cli import run_folder
from trainlib.cli.exit_status import SAVED
from trainlib.cli.flag_types import Values
from trainlib.core.checks import check_integer
from trainlib.training.checkpoints import Checkpoint, Checkpoints


class Differs(Exception):
    """The two runs came to different bits."""


def verify_resume(values: Values) -> None:
    """Runs `train` three times with these flags, in a folder that is then removed.

    Raises:
        ValueError: the run is too short for so many batches; or what `train` refuses.
        Differs: the first tensor whose bits are others.
    """
    steps = values.verify_steps
    check_integer("verify_steps", steps, at_least=1)
    print(f"verify_resume: {2 * steps} batches in one go ...", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        whole, halves = Path(folder, "whole"), Path(folder, "halves")
        given = Path(folder, "flags.txt")
        values["tensorboard_dir"].value = None  # events are not to stand among those of other runs
        given.write_text(run_folder.flags_text(values), encoding="utf-8")
        _train(f"--flagfile={given}", f"--run_dir={whole}", f"--stop_after={2 * steps}")
        print(f"verify_resume: {steps} batches, a new process, and {steps} more ...", flush=True)
        # What the first run measured and found is in its own record.
        again = f"--flagfile={whole / run_folder.FLAGS_FILE}"
        _train(again, f"--run_dir={halves}", f"--stop_after={steps}")
        _train(f"--resume={halves}", f"--stop_after={2 * steps}")
        ends = [_newest(path) for path in (whole, halves)]
    compare(*ends)
    size = sum(x.nbytes for x in ends[0].values.values())
    print(
        f"verify_resume: {steps} + {steps} batches came to the same bits as {2 * steps}: "
        f"{len(ends[0].values)} tensors, {size:,} bytes"
    )


def compare(whole: Checkpoint, halves: Checkpoint) -> None:
    """Raises `Differs` for the first thing that is not the same in both."""
    if whole.position != halves.position:
        raise Differs(
            f"the whole run ended at {whole.position}, the resumed one at {halves.position}"
        )
    for name in sorted({*whole.values, *halves.values}):
        a, b = (end.values.get(name) for end in (whole, halves))
        if a is None or b is None:
            raise Differs(f"{name} is in one of the two checkpoints alone")
        if a.tobytes() != b.tobytes():
            raise Differs(f"{name} differs: {_difference(a, b)}")
    histories = [
        [{k: x for k, x in line.items() if k != "seconds"} for line in end.metadata["history"]]
        for end in (whole, halves)
    ]
    if repr(histories[0]) != repr(histories[1]):
        raise Differs(f"the history differs: {histories[0]}, resumed {histories[1]}")


def _difference(a: np.ndarray, b: np.ndarray) -> str:
    """How far two tensors of one kind are apart."""
    unequal = np.ravel(a != b)
    largest = np.max(np.abs(np.ravel(a)[unequal] - np.ravel(b)[unequal]), initial=0)
    return f"{np.count_nonzero(unequal)} of {a.size} values, by {float(largest):.3g} at most"


def _train(*flags: str) -> None:
    """A `train` that ends for now."""
    command = [sys.executable, "-m", "trainlib.cli.train", *flags]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        raise ValueError("the run has too few batches for so many --verify_steps: give fewer")
    if done.returncode != SAVED:
        last = (done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1]
        raise ValueError(last.removeprefix("train: "))


def _newest(folder: Path) -> Checkpoint:
    found = Checkpoints(folder / run_folder.CHECKPOINTS).newest()
    assert found is not None
    return found
