"""Reports of run folders: what a folder holds becomes the records that the pages show."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from trainlib.cli import build, run_folder, saved
from trainlib.cli.flag_types import Values, format_value
from trainlib.cli.flags import define_train
from trainlib.cli.optimization import build_optimization
from trainlib.cli.run_folder import FLAGS_FILE, SUMMARY_FILE
from trainlib.cli.targets import INDEX
from trainlib.metrics.base import ACTIVATIONS
from trainlib.report import columns
from trainlib.report.comparison_page import write_comparison_page
from trainlib.report.examples import ExampleData
from trainlib.report.predictions import Predictions
from trainlib.report.range_test import read_curve
from trainlib.report.run_page import ModelRecord, RunRecord, write_run_page

SCHEDULE_POINTS = 1000
"""Number of steps at which a schedule is drawn."""


class RunFiles(NamedTuple):
    """A run folder: its record, and its flags, which are None where unknown."""

    record: RunRecord
    values: Values | None


class Model(NamedTuple):
    """The model of a finished run, and its data."""

    task: build.Task
    built: build.Models


def read(folder: Path) -> RunFiles:
    """Return what the folder of a run holds, finished or not.

    Raises:
        ValueError: there is no run, or a file of it is damaged.
    """
    history = run_folder.read_history(folder)
    values = summary = None
    if (folder / FLAGS_FILE).is_file():
        values = run_folder.recorded_flags(folder, define_train)
    if values is not None and (folder / SUMMARY_FILE).is_file():
        summary = run_folder.read_summary(folder)
        for name in ("test", "feature_names"):
            if name not in summary:
                raise ValueError(f"{folder / SUMMARY_FILE}: lacks {name!r}")
    name, curve = folder.resolve().name, read_curve(folder)
    record = RunRecord(name, history, {}, summary=summary, range_test=curve)
    if values is not None:
        flags = list(run_folder.recorded(values))
        record = RunRecord(
            name,
            history,
            {f.name: "" if f.value is None else format_value(f.value) for f in flags},
            tuple(run_folder.flags_text(values).splitlines()),
            " ".join(["train", *(f.serialize() for f in flags if f.value != f.default)]),
            summary,
            curve,
        )
    return RunFiles(record, values)


def read_several(folders: Sequence[Path]) -> dict[str, RunRecord]:
    """Return the records of runs by name, or by path where two runs have the same name.

    Raises:
        ValueError: a folder is given twice, is not a run, or is damaged.
    """
    resolved = [folder.resolve() for folder in folders]
    for folder, path in zip(folders, resolved, strict=True):
        if resolved.count(path) > 1:
            raise ValueError(f"run {folder} is given twice")
    runs = [read(folder).record for folder in folders]
    unique = len({run.name for run in runs}) == len(runs)
    names = [run.name if unique else f.as_posix() for run, f in zip(runs, folders, strict=True)]
    return dict(zip(names, runs, strict=True))


def load_model(folder: Path, run: RunFiles, safe_mode: bool) -> Model | None:
    """Return the model of a finished run and its data; None if the run is not finished."""
    if run.values is None or run.record.summary is None:
        return None
    task = build.build_task(run.values, tuple(run.record.summary["feature_names"]))
    return Model(task, saved.load(folder, task, safe_mode))


def write(run: RunFiles, model: Model | None, folder: Path) -> None:
    """Write the report of a run into a folder.

    Raises:
        ImportError: matplotlib is not installed.
    """
    record = None
    if model is not None and run.values is not None:
        record = model_record(model, run.values, run.record.history)
    write_run_page(run.record, record, folder)


def write_comparison(folders: Sequence[Path], folder: Path) -> None:
    """Write the report of several runs into a folder.

    Raises:
        ValueError: as in `read_several`.
        ImportError: matplotlib is not installed.
    """
    runs = read_several(folders)
    folder.mkdir(parents=True, exist_ok=True)
    write_comparison_page(runs, folder)


def model_record(model: Model, values: Values, history: columns.History) -> ModelRecord:
    """Return what the model of a finished run adds to its report."""
    task = model.task
    names: list[str] = []
    if task.target.by_class:
        names = list(task.dataset.class_names) or [str(k) for k in range(task.outputs)]
    data = ExampleData(task.test.x, task.dataset.x_max, names, task.dataset.feature_names)
    parts = {name: getattr(task, name) for name in build.PARTS}
    return ModelRecord(
        {name: part.size for name, part in parts.items() if part is not None},
        model.built.full.count_params(),
        task.loss,
        predict_test(model, values),
        data,
        _schedule(task, values, int(columns.epochs(history)[-1])),
    )


def predict_test(model: Model, values: Values) -> Predictions:
    """Return the predictions of the test examples."""
    task, built = model.task, model.built
    outputs = saved.evaluator(built, values, task).predict(task.test.x).astype(np.float32)
    loss = build.build_loss(values, task.loss, built.from_logits)
    losses = np.asarray(loss(task.test.y, outputs), np.float64)
    if not task.target.by_class:
        return Predictions(task.test.y, outputs.reshape(-1), None, losses)
    scores = outputs
    if built.from_logits:
        scores = np.asarray(ACTIVATIONS[str(task.target.activation)](outputs))
    true = task.test.y if task.target.form == INDEX else task.test.y.argmax(axis=1)
    name = "confidence" if task.target.activation else "score"
    return Predictions(true, scores.argmax(axis=1), scores, losses, name)


def _schedule(task: Any, values: Values, epochs: int) -> tuple[np.ndarray, np.ndarray] | None:
    """Return positions in epochs and the learning rates there; None if it is not a schedule."""
    steps = -(-task.train.size // values.batch_size)
    rate = build_optimization(values, steps).rate
    if rate is None:
        return None
    points = np.linspace(0, steps * epochs - 1, SCHEDULE_POINTS)
    points = np.unique(points.round().astype(np.int64))
    return (points + 1) / steps, np.asarray(rate(points), np.float64)
