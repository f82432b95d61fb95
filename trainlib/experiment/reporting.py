"""Reports of run folders: reads a folder into records, and writes the page."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from trainlib.experiment import run_folder
from trainlib.experiment.augmentation import augmented_examples
from trainlib.experiment.config import ExperimentConfig
from trainlib.experiment.flat import flatten
from trainlib.experiment.model_building import Models, matched_task
from trainlib.experiment.optimization import build_optimization
from trainlib.experiment.predictions import class_names, predict_test, shown_examples
from trainlib.experiment.pretraining import read_pretraining
from trainlib.experiment.provenance import command_line, provenance
from trainlib.experiment.saved_run import (
    build_saved_task,
    load_models,
    read_saved_run,
    with_data,
)
from trainlib.experiment.schedule_building import updates_per_epoch
from trainlib.experiment.task import Task
from trainlib.experiment.training_data import steps_per_epoch
from trainlib.experiment.values import written
from trainlib.report import columns
from trainlib.report.comparison_page import write_comparison_page
from trainlib.report.ensemble_page import write_ensemble_page
from trainlib.report.range_test import LossCurve, read_curve
from trainlib.report.run_page import REPORT_FILE, write_run_page
from trainlib.report.run_record import ModelRecord, OutputRecord, RunRecord
from trainlib.training.paths import shown

SCHEDULE_POINTS = 1000
"""Number of steps at which a schedule is drawn."""


def read_record(folder: Path) -> RunRecord:
    """Return the record of a run, finished or not, from its folder.

    Raises:
        ValueError: the folder is not that of a run, or a file is damaged.
    """
    name, history = folder.resolve().name, run_folder.read_history(folder)
    if not (folder / run_folder.CONFIG_FILE).is_file():
        return RunRecord(name, history, {}, range_test=read_curve(folder))
    config = run_folder.read_config(folder)
    summary = read_saved_run(folder).summary if is_finished(folder) else None
    found = _record(name, history, config, summary, read_curve(folder))
    return dataclasses.replace(found, pretraining=read_pretraining(folder))


def _record(
    name: str,
    history: columns.History,
    config: ExperimentConfig,
    summary: Mapping[str, Any] | None,
    curve: LossCurve | None = None,
) -> RunRecord:
    """Return the record of a run, given its configuration."""
    return RunRecord(
        name,
        history,
        {flag: written(value) for flag, value in flatten(config).items()},
        tuple(config.to_flags().splitlines()),
        provenance(command_line("train", config), config, summary),
        summary,
        curve,
    )


def read_records(folders: Sequence[Path]) -> dict[str, RunRecord]:
    """Return the records of runs by name, or by path if two runs have the same name.

    Raises:
        ValueError: a folder is given twice, is not that of a run, or is damaged.
    """
    resolved = [folder.resolve() for folder in folders]
    for folder, path in zip(folders, resolved, strict=True):
        if resolved.count(path) > 1:
            raise ValueError(f"run {shown(folder)} is given twice")
    runs = [read_record(folder) for folder in folders]
    unique = len({run.name for run in runs}) == len(runs)
    names = [run.name if unique else f.as_posix() for run, f in zip(runs, folders, strict=True)]
    return dict(zip(names, runs, strict=True))


def is_one_model(folder: Path) -> bool:
    """Return whether a folder is that of a run with one model, and not of an ensemble."""
    file = folder / run_folder.CONFIG_FILE
    return not file.is_file() or run_folder.read_config(folder).ensemble.is_one


def is_finished(folder: Path) -> bool:
    """Return whether a run is finished: its summary, which is written last, exists."""
    return (folder / run_folder.SUMMARY_FILE).is_file()


def write_report(
    folder: Path,
    to: Path,
    data_dir: str | None = None,
    safe_mode: bool = True,
    code_path: str | None = None,
) -> None:
    """Write the report of the run in a folder.

    Args:
        folder: folder of the run, which may be unfinished.
        to: folder to write to, created if it does not exist.
        data_dir: folder that is searched first for the data set. Default: None, that of the run.
        safe_mode: whether to refuse a model's file that contains code. Default: True.
        code_path: as for `read_saved_run`. Default: None.

    Raises:
        ValueError, OSError: the folder is not that of a run, a file is damaged, or data are
            missing.
        ImportError: matplotlib is not installed.
    """
    if (folder / run_folder.SUMMARY_FILE).is_file() and not is_one_model(folder):
        run = with_data(read_saved_run(folder, code_path), data_dir=data_dir)
        task = build_saved_task(run)
        to.mkdir(parents=True, exist_ok=True)
        write_ensemble_report(folder, run.config, task, load_models(run, task, safe_mode), to)
        return
    record, model = read_record(folder), None
    if record.summary is not None:
        run = with_data(read_saved_run(folder, code_path), data_dir=data_dir)
        task = build_saved_task(run)
        built = load_models(run, task, safe_mode)
        task = matched_task(task, built)
        model = model_record(run.config, task, built, record.history)
    to.mkdir(parents=True, exist_ok=True)
    write_run_page(record, model, to)


def write_report_from_memory(
    folder: Path, config: ExperimentConfig, task: Task, built: Models
) -> None:
    """Write the report of a finished run whose data and model are in memory.

    Args:
        folder: folder of the run.
        config: configuration of the run.
        task: data of the run, with its loss and targets.
        built: the model, as built by `build_models`.

    Raises:
        ImportError: matplotlib is not installed.
    """
    record = read_record(folder)
    write_run_page(record, model_record(config, task, built, record.history), folder)


def write_ensemble_report(
    folder: Path, config: ExperimentConfig, task: Task, built: Models, to: Path
) -> None:
    """Write the report of an ensemble.

    Args:
        folder: folder of the ensemble, finished.
        config: configuration of the ensemble.
        task: data of the ensemble, with its loss and targets.
        built: the model, as built by `build_models`.
        to: folder to write to.

    Raises:
        ImportError: matplotlib is not installed.
    """
    members = sorted((folder / "members").iterdir(), key=lambda path: int(path.name))
    histories = {f"member {x.name}": run_folder.read_history(x) for x in members}
    history, summary = next(iter(histories.values())), run_folder.read_summary(folder)
    record = _record(folder.resolve().name, history, config, summary)
    model = model_record(config, task, built, record.history)
    write_ensemble_page(record, histories, model, to)


def write_comparison(folders: Sequence[Path], to: Path) -> None:
    """Write the report that compares several runs.

    Args:
        folders: folders of the runs.
        to: folder to write to, created if it does not exist.

    Raises:
        ValueError: as for `read_records`.
        ImportError: matplotlib is not installed.
    """
    runs = read_records(folders)
    to.mkdir(parents=True, exist_ok=True)
    pages = {name: folder / REPORT_FILE for name, folder in zip(runs, folders, strict=True)}
    links = {
        name: Path(os.path.relpath(path, to)).as_posix()
        for name, path in pages.items()
        if path.is_file()
    }
    write_comparison_page(runs, to, links)


def model_record(
    config: ExperimentConfig, task: Task, built: Models, history: columns.History
) -> ModelRecord:
    """Return the record of a finished run's model, for its report.

    Args:
        config: configuration of the run.
        task: data of the run, with its loss and targets.
        built: the model, as built by `build_models`.
        history: results of each epoch.
    """
    outputs = {
        name: OutputRecord(task.head(name).loss, found, class_names(task, name))
        for name, found in predict_test(config, task, built).items()
    }
    return ModelRecord(
        {name: part.size for name, part in task.parts().items()},
        built.full.count_params(),
        outputs,
        shown_examples(task),
        _schedule(config, task, int(columns.epochs(history)[-1])),
        augmented_examples(config, task),
    )


def _schedule(
    config: ExperimentConfig, task: Task, epochs: int
) -> tuple[np.ndarray, np.ndarray] | None:
    """Return positions in epochs and the learning rates there; None without a schedule."""
    steps = steps_per_epoch(config, task)
    schedule = build_optimization(config, steps).schedule
    if schedule is None:
        return None
    points = np.linspace(0, steps * epochs - 1, SCHEDULE_POINTS)
    points = np.unique(points.round().astype(np.int64))
    made = updates_per_epoch(config, steps)
    updates = points // steps * made + points % steps // config.gradient_accumulation_steps
    return (points + 1) / steps, np.asarray(schedule(updates), np.float64)
