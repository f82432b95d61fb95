"""The members of an ensemble: their configurations, their data, and their training."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from trainlib.callbacks import Callback, CSVLogger, JSONLLogger
from trainlib.data.examples import pick
from trainlib.experiment import run_folder
from trainlib.experiment.balance import labels_of
from trainlib.experiment.config import ExperimentConfig
from trainlib.experiment.data_config import MAX_SEED, DataConfig
from trainlib.experiment.ensemble_config import EnsembleConfig
from trainlib.experiment.fields import plain_settings
from trainlib.experiment.flat import flag_values, flatten, is_same, settings, unflatten
from trainlib.experiment.result import ExperimentResult
from trainlib.experiment.run import write_model_and_summary
from trainlib.experiment.splits import split_seed
from trainlib.experiment.task import PARTS, Task
from trainlib.experiment.task_building import build_task
from trainlib.experiment.trial import TrialResult, run_trial
from trainlib.training.callback import Results
from trainlib.training.files import read_text
from trainlib.training.functional_model import as_functional_model
from trainlib.training.paths import shown
from trainlib.training.pool import TrainerPool

MEMBERS = "members"
"""The folder with the members' folders, in the folder of the ensemble."""
SHARED = (
    *("dataset", "seed", "calibrate", "loss", "metrics"),
    *(flag.flag for _, flag in plain_settings(DataConfig)),
)
"""Settings that must be equal in all members: all see the same data and targets."""


class MemberState(NamedTuple):
    """State of a process that trains members.

    Attributes:
        folder: folder of the ensemble.
        config: configuration of the ensemble.
        task: data of the ensemble, in parts.
        pool: pool of compiled programs that members share.
    """

    folder: Path
    config: ExperimentConfig
    task: Task
    pool: TrainerPool


def make_state(folder: str, config: str) -> MemberState:
    """Return the state of a new process; reads the data.

    Args:
        folder: folder of the ensemble.
        config: configuration of the ensemble as JSON.
    """
    parsed = ExperimentConfig.from_json(config)
    return MemberState(Path(folder), parsed, build_task(parsed), TrainerPool())


def member_folder(folder: Path, index: int) -> Path:
    """Return the folder of the member with an index, from 0, in the folder of its ensemble."""
    return folder / MEMBERS / str(index + 1)


def is_finished(folder: Path, index: int) -> bool:
    """Return whether a member is finished: its summary, which is written last, exists."""
    return (member_folder(folder, index) / run_folder.SUMMARY_FILE).is_file()


def member_config(config: ExperimentConfig, index: int) -> ExperimentConfig:
    """Return the configuration of a member, a plain run with another seed.

    All members have the validation examples of the ensemble, whatever their seeds.

    Args:
        config: configuration of the ensemble.
        index: index of the member, from 0.

    Raises:
        ValueError, TypeError, OSError: a flag file does not exist or contradicts the ensemble.
    """
    ensemble, base = config.ensemble, config
    if ensemble.configs:
        base = _with_flags(config, ensemble.configs[index % len(ensemble.configs)])
    return dataclasses.replace(
        base,
        seed=(config.seed + index) % (MAX_SEED + 1) if ensemble.by != "snapshot" else config.seed,
        data=dataclasses.replace(config.data, split_seed=split_seed(config)),
        ensemble=EnsembleConfig(),
        calibrate=False,
        report=False,
    )


def _with_flags(config: ExperimentConfig, path: str) -> ExperimentConfig:
    """Return a configuration whose settings are replaced by the flags of a flag file."""
    flat, declared = flatten(config), {s.flag: s for s in settings(ExperimentConfig)}
    try:
        given = flag_values(ExperimentConfig, read_text(Path(path)))
        for name in [x for x in given if x in SHARED or x.startswith("ensemble")]:
            value = given.pop(name)
            if not any(is_same(name, value, x) for x in (flat.get(name), declared[name].default)):
                raise ValueError(f"--{name} is the same for all members: give it to the ensemble")
        # The hyperparameters of a function that the file replaces are left out.
        kept = {name: x for name, x in flat.items() if declared[name].kind not in given}
        return unflatten(ExperimentConfig, {**kept, **given})
    except (ValueError, TypeError) as error:
        raise ValueError(f"ensemble_configs {shown(path)}: {error}") from error


def member_task(config: ExperimentConfig, task: Task, index: int) -> Task:
    """Return the data of a member: those of the ensemble, or with by="fold" its training folds.

    Args:
        config: configuration of the ensemble.
        task: data of the ensemble, with its loss and targets.
        index: index of the member, from 0.
    """
    if config.ensemble.by != "fold":
        return task
    labels = labels_of(task.train.y) if task.target.by_class else None
    numbers = fold_numbers(task.train.size, config.ensemble.members, split_seed(config), labels)
    kept, held_out = np.nonzero(numbers != index)[0], np.nonzero(numbers == index)[0]
    return task._replace(
        train=pick(task.train, kept),
        validation=pick(task.train, held_out),
        weights=None if task.weights is None else task.weights[kept],
    )


def fold_numbers(size: int, folds: int, seed: int, labels: np.ndarray | None = None) -> np.ndarray:
    """Return the fold of each example; the sizes of folds differ by at most 1, in each class too.

    Args:
        size: number of examples.
        folds: number of folds.
        seed: seed of the order.
        labels: classes of the examples. Default: None, numbers are predicted.
    """
    order = np.random.default_rng(seed).permutation(size)
    if labels is not None:
        order = order[np.argsort(labels[order], kind="stable")]
    numbers = np.empty(size, np.int64)
    numbers[order] = np.arange(size) % folds
    return numbers


def new_member_folder(state: MemberState, index: int, config: ExperimentConfig) -> Path:
    """Make the folder of a member, after removing that of an interrupted training."""
    folder = member_folder(state.folder, index)
    shutil.rmtree(folder, ignore_errors=True)
    return run_folder.create(config, folder)


def history_loggers(folder: Path) -> list[Callback]:
    """Return the callbacks that write a history into a folder."""
    return [
        JSONLLogger(folder / run_folder.HISTORY_FILE),
        CSVLogger(folder / run_folder.TABLE_FILE),
    ]


def train_member(state: MemberState, index: int) -> int:
    """Train a member and write its folder; return its index."""
    config = member_config(state.config, index)
    task = member_task(state.config, state.task, index)
    folder = new_member_folder(state, index, config)
    trial = run_trial(config, task, pool=state.pool, callbacks=history_loggers(folder))
    results = {name: getattr(trial, name) for name in PARTS}
    write_member(folder, task, trial, trial.build_model(), trial.history, results)
    return index


def write_member(
    folder: Path,
    task: Task,
    trial: TrialResult,
    model: Any,
    history: Sequence[Results],
    results: dict[str, Any],
) -> None:
    """Write the files of a member: the resolved configuration, the model, and last the summary."""
    run_folder.write_config(folder, trial.config)
    params = as_functional_model(model, precision=trial.config.precision).params
    result = ExperimentResult(
        config=trial.config,
        folder=folder,
        history=history,
        **results,
        steps=int(history[-1]["step"]),
        seconds=round(sum(epoch["seconds"] for epoch in history), 3),
        execution=trial.config.execution,
        params_sha256=run_folder.params_sha256(params),
        model=model,
        stop=trial.stop,
    )
    write_model_and_summary(folder, task, result)
