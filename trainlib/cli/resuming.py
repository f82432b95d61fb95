"""`train --resume`: the flags of the run that is gone on with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from trainlib.cli import run_folder
from trainlib.cli.flag_types import Values
from trainlib.cli.flags import AS_LONG_AS_THE_RUN, GROUPS, chosen, schedule_names
from trainlib.registry import hyperparameters
from trainlib.training.nonfinite import UNGUARDED

FREE = (
    "callbacks",
    "checkpoint_epochs",
    "checkpoint_seconds",
    "checkpoint_steps",
    "data_dir",
    "epochs",
    "histogram_epochs",
    "keep_checkpoints",
    "report",
    "safe_mode",
    "tensorboard",
    "tensorboard_dir",
    "tensorboard_steps",
    "worker_timeout",
)
"""The flags that may be others than the run's: its numbers do not follow from them."""


def take_flags(values: Values, define: Callable[[Values], None]) -> None:
    """Gives flags that were not given the values that they have in the run of --resume.

    Raises:
        ValueError: there is no such run, it is finished, or a flag contradicts it.
    """
    folder = Path(values.resume)
    if values.run_dir:
        raise ValueError("--resume goes on in the run's own folder: leave --run_dir out")
    of_run = run_folder.recorded_flags(folder, define)
    for flag in run_folder.recorded(of_run):
        mine = values[flag.name]
        if not mine.present:
            mine.value = flag.value
        elif mine.value != flag.value and not _free(flag.name, mine.value, flag.value):
            raise ValueError(
                f"{mine.serialize()} contradicts the run in {folder}, made with "
                f"{flag.serialize() or f'no --{flag.name}'}: leave it out, or begin a new run"
            )
    if values.replay_step is None:
        _check_epochs(values, of_run, folder)


def _free(name: str, mine: Any, of_run: Any) -> bool:
    """Whether a flag may be another than the run's.

    What becomes of a step that is not finite changes no number before there is one; but a run that
    does not look for such steps keeps no count of them.
    """
    if name == "nonfinite":
        return (mine in UNGUARDED) == (of_run in UNGUARDED)
    return name in FREE


def _check_epochs(values: Values, of_run: Values, folder: Path) -> None:
    """Raises where there is nothing to go on with, or a schedule would become another one."""
    if values.epochs != of_run.epochs and _as_long_as_the_run(of_run):
        raise ValueError(
            f"--epochs={values.epochs} would change the schedule {of_run.schedule}, which is as "
            f"long as the run: its {of_run.epochs} epochs must stay"
        )
    finished = (folder / run_folder.SUMMARY_FILE).is_file()
    if finished and values.epochs <= run_folder.read_summary(folder)["epochs"]:
        raise ValueError(f"the run in {folder} is finished; more --epochs make it go on")


def _as_long_as_the_run(values: Values) -> bool:
    """Whether the length of a schedule follows from the number of epochs."""
    for name in schedule_names(values):
        takes = hyperparameters(GROUPS["schedule"][name])
        given = chosen(values, "schedule", name)
        if any(takes[x].required and x not in given for x in AS_LONG_AS_THE_RUN if x in takes):
            return True
    return False
