"""`train --tensorboard`: what its flags ask for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from trainlib.callbacks import Callback, TensorBoard
from trainlib.callbacks.events import require_tensorboard
from trainlib.cli import run_folder
from trainlib.cli.build import Models, Task
from trainlib.cli.flag_types import Values, format_value
from trainlib.core.checks import check_integer
from trainlib.data import take

ONLY_WITH = ("tensorboard_dir", "tensorboard_steps", "histogram_epochs")
"""The flags that say nothing without --tensorboard."""
FOLDER = "tensorboard"
EXAMPLES = 1000
"""Of the validation, or else of the training, that are shown."""


def check(values: Values) -> None:
    """Refuses flags that do not fit, and settles --norms, which stands in the run's record.

    Raises:
        ValueError: a flag is out of its range, or is of no use without another; the package
            tensorboard is not installed.
    """
    if values.norms is None:
        values["norms"].value = values.tensorboard
    if not values.tensorboard:
        for name in ONLY_WITH:
            if values[name].value is not None:
                raise ValueError(f"--{name} needs --tensorboard")
        return
    try:
        require_tensorboard()
    except ImportError as error:
        raise ValueError(f"--tensorboard: {error}") from None
    if values.tensorboard_steps is not None:
        check_integer("tensorboard_steps", values.tensorboard_steps, at_least=1)
    if values.histogram_epochs is not None:
        check_integer("histogram_epochs", values.histogram_epochs, at_least=0)


def root(values: Values, folder: Path | None) -> Path:
    """What TensorBoard is to be given: a folder of many runs, or this one's."""
    return Path(values.tensorboard_dir or Path(folder or ".") / FOLDER)


def callbacks(values: Values, folder: Path | None, task: Task, built: Models) -> list[Callback]:
    """The callback, on each worker; it writes on the one that reports.

    Args:
        values: of the flags.
        folder: of the run; None on workers that do not report.
        task, built: of the run.
    """
    if not values.tensorboard:
        return []
    to = root(values, folder)
    if values.tensorboard_dir:
        to /= (folder or Path("run")).resolve().name
    every = values.histogram_epochs
    shown = task.train if task.validation is None else task.validation
    one = TensorBoard(
        to,
        steps=values.tensorboard_steps,
        histogram_epochs=1 if every is None else every,
        hyperparameters=_hyperparameters(values),
        examples=tuple(take(shown, min(EXAMPLES, shown.size))),
        model=built.trained,
    )
    return [one]


def _hyperparameters(values: Values) -> dict[str, Any]:
    """The flags that are given or have a value of their own, lists as text."""
    hidden = (*ONLY_WITH, FOLDER)
    return {
        flag.name: format_value(flag.value) if isinstance(flag.value, list) else flag.value
        for flag in run_folder.recorded(values)
        if flag.name not in hidden and flag.value not in (None, [])
    }
