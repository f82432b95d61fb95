"""The configuration of a resumed run: that of the run, with allowed changes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from trainlib.experiment import run_folder
from trainlib.experiment.comparison.folder import COMPARISON_FILE
from trainlib.experiment.config import ExperimentConfig
from trainlib.experiment.flat import check_flags, flag_text, flatten, is_same, unflatten
from trainlib.experiment.fold_files import OPTIONS_FILE
from trainlib.experiment.hyperparameter_flags import is_shared
from trainlib.experiment.search.folder import SEARCH_FILE
from trainlib.experiment.user_functions import follows_run_length
from trainlib.training.nonfinite import UNGUARDED
from trainlib.training.paths import shown

CHANGEABLE = (
    "callbacks",
    "checkpoint_epochs",
    "checkpoint_seconds",
    "checkpoint_steps",
    "code_path",
    "data_dir",
    "epochs",
    "histogram_epochs",
    "imports",
    "keep_checkpoints",
    "layer_statistics",
    "report",
    "safe_mode",
    "tensorboard",
    "tensorboard_dir",
    "tensorboard_steps",
    "validation_ratio",
    "worker_timeout",
)
"""Settings that may change when a run is resumed, because its numbers do not depend on them."""
FREE_IN_ENSEMBLES = ("code_path", "data_dir", "report", "safe_mode")
"""Settings that may change when an ensemble is resumed."""
TENSORBOARD = ("tensorboard_dir", "tensorboard_steps", "histogram_epochs", "layer_statistics")
"""Settings of TensorBoard, which a run without it does not have."""
OTHER_FOLDERS: Mapping[str, tuple[str, str]] = {
    SEARCH_FILE: ("search", "tune"),
    COMPARISON_FILE: ("comparison", "compare"),
    OPTIONS_FILE: ("cross-validation", "train"),
}
"""Kind of a folder, and the command that resumes it, by the file that marks the folder."""


def resumed_config(
    folder: Path, changes: Mapping[str, Any], to_replay: bool = False
) -> ExperimentConfig:
    """Return the configuration with which a run is resumed.

    Args:
        folder: folder of the run.
        changes: changed settings by flag; unchanged ones may be repeated.
        to_replay: whether a step of the run is only replayed; the run may then be finished.

    Raises:
        ValueError: the run does not exist or is finished, or a change is not allowed.
    """
    config = _read_config(folder)
    check_trust(folder, config, changes)
    check_flags(ExperimentConfig, changes)
    resumed = _with_changes(folder, config, changes, _may_change)
    if not to_replay:
        _check_epochs(folder, config, resumed)
        _check_history(folder, config)
    return resumed


def resumed_ensemble(folder: Path, changes: Mapping[str, Any]) -> ExperimentConfig | None:
    """Return the configuration with which an ensemble is resumed; None for a run of one model.

    Args:
        folder: folder of the run.
        changes: changed settings by flag: `code_path`, `data_dir`, `report` and `safe_mode`.
            Unchanged settings may be repeated.

    Raises:
        ValueError: the ensemble does not exist or is finished, or a change is not allowed.
    """
    config = _read_config(folder)
    if config.ensemble.is_one:
        return None
    check_trust(folder, config, changes)
    if (folder / run_folder.SUMMARY_FILE).is_file():
        raise ValueError(f"the ensemble in {shown(folder)} is finished: begin a new one")
    return _with_changes(folder, config, changes, _may_change_in_ensemble)


def _read_config(folder: Path) -> ExperimentConfig:
    """Return the configuration of the run in a folder.

    Raises:
        ValueError: the folder is not that of a run, but for example of a search.
    """
    for file, (name, command) in OTHER_FOLDERS.items():
        if (folder / file).is_file():
            raise ValueError(
                f"{shown(folder)} is the folder of a {name}, not of a run: resume it with "
                f"{command} --resume={shown(folder)}"
            )
    return run_folder.read_config(folder)


def check_trust(folder: Path, config: ExperimentConfig, given: Mapping[str, Any]) -> None:
    """Check that the user, and not the folder of a run, allows code in `.keras` files to run.

    Args:
        folder: folder of the run.
        config: the configuration in the folder.
        given: settings that the user gives, by flag.

    Raises:
        ValueError: `safe_mode` is off in the configuration, but not in the given settings.
    """
    if not config.safe_mode and "safe_mode" not in given:
        raise ValueError(
            f"safe_mode is off in {shown(folder)}, so that code in .keras files would run: give "
            "--safe_mode=false again if you trust them"
        )


def _with_changes(
    folder: Path,
    config: ExperimentConfig,
    changes: Mapping[str, Any],
    may_change: Callable[[str, Any, Any], bool],
) -> ExperimentConfig:
    """Return the configuration of a run with changed settings.

    Raises:
        ValueError: a change is not allowed.
    """
    flat = flatten(config)
    given = _changed(flat, changes)
    _check_changes(folder, flat, _not_shared(given), may_change)
    if given.get("tensorboard") is False:
        flat = {name: x for name, x in flat.items() if name not in TENSORBOARD}
    resumed = unflatten(ExperimentConfig, {**flat, **given})
    _check_changes(folder, flat, flatten(resumed), may_change)
    return resumed


def _changed(flat: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the given settings that differ from those of a run."""
    values = {name: tuple(x) if isinstance(x, list) else x for name, x in given.items()}
    return {name: x for name, x in values.items() if not is_same(name, x, flat.get(name))}


def _not_shared(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the given settings whose flags have one spelling."""
    return {name: x for name, x in given.items() if not is_shared(name)}


def _check_changes(
    folder: Path,
    flat: Mapping[str, Any],
    given: Mapping[str, Any],
    may_change: Callable[[str, Any, Any], bool],
) -> None:
    """Raise `ValueError` for the first change that is not allowed."""
    for name, value in given.items():
        of_run = flat.get(name)
        if not is_same(name, value, of_run) and not may_change(name, value, of_run):
            raise _contradiction(folder, name, value, of_run)


def _contradiction(folder: Path, name: str, value: Any, of_run: Any) -> ValueError:
    made = f"no --{name}" if of_run is None else flag_text(name, of_run)
    return ValueError(
        f"{flag_text(name, value)} contradicts the run in {shown(folder)}, made with {made}: leave "
        "it out, or begin a new run"
    )


def _may_change(name: str, value: Any, of_run: Any) -> bool:
    """Return whether a setting may change when a run is resumed.

    For `nonfinite` both values must test every step, or neither: the state of a run that tests its
    steps has a counter of skipped ones.
    """
    if name == "nonfinite":
        return (value in UNGUARDED) == (of_run in UNGUARDED)
    return name in CHANGEABLE


def _may_change_in_ensemble(name: str, value: Any, of_run: Any) -> bool:
    """Return whether a setting may change when an ensemble is resumed."""
    return name in FREE_IN_ENSEMBLES


def _check_epochs(folder: Path, config: ExperimentConfig, resumed: ExperimentConfig) -> None:
    """Raise `ValueError` if no epoch is left, or if another number would change earlier ones."""
    if resumed.epochs != config.epochs:
        _check_length(config, resumed)
    file = folder / run_folder.SUMMARY_FILE
    if not file.is_file():
        return
    summary = run_folder.read_summary(folder)
    trained = summary.get("epochs")
    if type(trained) is not int:
        raise ValueError(f"{shown(file)}: it has no number of epochs")
    if (reason := summary.get("stop")) is not None:
        why = f" ({reason})" if reason else ""
        raise ValueError(
            f"the run in {shown(folder)} was ended by a callback{why}, so that it cannot continue: "
            "begin a new run"
        )
    if resumed.epochs <= trained:
        raise ValueError(
            f"the run in {shown(folder)} is finished, with {resumed.epochs} epochs: give more "
            "--epochs to continue it"
        )


def _check_length(config: ExperimentConfig, resumed: ExperimentConfig) -> None:
    """Raise `ValueError` if a setting of a run depends on its number of epochs, which changes."""
    if follows_run_length(resumed):
        names = ",".join(x.name for x in config.schedule.schedules)
        raise ValueError(
            f"--epochs={resumed.epochs} would change the schedule {names}, which is as long as the "
            f"run: its {config.epochs} epochs must stay"
        )
    if resumed.weight_average.follows_run_length:
        raise ValueError(
            f"--epochs={resumed.epochs} would change which states --weight_average=swa averages, "
            f"those after a fraction of the run: its {config.epochs} epochs must stay"
        )


def _check_history(folder: Path, config: ExperimentConfig) -> None:
    """Raise `ValueError` if a run has a history but no checkpoints.

    A run that was stopped before its first checkpoint starts again from its first epoch.
    """
    every, checkpoints = config.checkpoints.epochs, folder / run_folder.CHECKPOINTS
    if checkpoints.exists() and not checkpoints.is_dir():
        raise ValueError(f"{shown(checkpoints)} is no folder, so that the run cannot continue")
    epochs = run_folder.epochs_in_history(folder)
    if every and epochs > every and not (checkpoints.is_dir() and any(checkpoints.iterdir())):
        raise ValueError(
            f"{shown(folder)}: the run has a history of {epochs} epochs, but its checkpoints are "
            "gone, so that it cannot continue: begin a new run in another folder"
        )
