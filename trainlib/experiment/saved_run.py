"""A finished run, read from its folder, to evaluate its model or predict with it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from trainlib.core.tree import kernels
from trainlib.data import load_examples
from trainlib.experiment import run_folder
from trainlib.experiment.building import (
    Models,
    as_seen_by_loss,
    build_loss,
    build_metrics,
    build_regularizer,
    check_input,
    check_shapes,
)
from trainlib.experiment.config import ExperimentConfig
from trainlib.experiment.functions import AUTO
from trainlib.experiment.targets import target_of
from trainlib.experiment.task import Task, build_task, load_data
from trainlib.experiment.user_functions import load_model
from trainlib.models import LOGITS_ACTIVATIONS
from trainlib.training.callback import Results
from trainlib.training.evaluator import Evaluator

TABLES = (".csv", ".csv.gz")
"""Ends of the names of data sets that have a column to predict."""


class SavedRun(NamedTuple):
    """A finished run.

    Attributes:
        folder: its folder.
        config: its configuration.
        summary: its summary: results, number of classes, names of the features.
    """

    folder: Path
    config: ExperimentConfig
    summary: Mapping[str, Any]

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the columns that the model takes; () for images and unnamed columns."""
        return tuple(self.summary["feature_names"])

    @property
    def predicts_classes(self) -> bool:
        """Whether the model predicts classes instead of numbers."""
        return bool(self.summary["classes"])

    @property
    def score_name(self) -> str:
        """Short name of what the model predicts for a class: "p" for a probability, or "score"."""
        loss = self.config.loss.name
        activation = target_of(loss).activation if loss != AUTO else "softmax"
        return "p" if activation in LOGITS_ACTIVATIONS else "score"


def read_saved_run(folder: Path, code_path: str | None = None) -> SavedRun:
    """Return the finished run in a folder.

    Args:
        folder: the folder.
        code_path: folders of the custom modules, where they are no longer in those that the run
            recorded. Default: None.

    Raises:
        ValueError: there is no run, it is not finished, or a file of it is damaged.
    """
    config = run_folder.read_config(folder)
    if code_path is not None:
        config = dataclasses.replace(config, code_path=code_path)
    summary = run_folder.read_summary(folder)
    for name in ("test", "feature_names", "classes"):
        if name not in summary:
            raise ValueError(f"{folder / run_folder.SUMMARY_FILE}: lacks {name!r}")
    return SavedRun(folder, config, summary)


def with_data(run: SavedRun, dataset: str | None = None, data_dir: str | None = None) -> SavedRun:
    """Return the run with another data set.

    Args:
        run: the run.
        dataset: name or path of a data set that is like that of the run. Default: None, its own.
        data_dir: folder that is searched first for its files. Default: None, that of the run.
    """
    config, data = run.config, run.config.data
    if data_dir is not None:
        data = dataclasses.replace(data, data_dir=data_dir)
    if dataset is not None:
        config = dataclasses.replace(config, dataset=dataset)
        if not dataset.lower().endswith(TABLES):
            data = dataclasses.replace(data, target=None)
    return run._replace(config=dataclasses.replace(config, data=data))


def build_saved_task(run: SavedRun) -> Task:
    """Return the task of a run, its columns in the order in which the model takes them."""
    return build_task(run.config, run.feature_names)


def load_models(run: SavedRun, task: Task, safe_mode: bool = True) -> Models:
    """Return the saved model of a run, as its loss sees it.

    Args:
        run: the run.
        task: its task, or one on other data.
        safe_mode: refuse a file that contains code. Default: True.

    Raises:
        ValueError, FileNotFoundError: there is no model, or it does not fit the data.
    """
    model = _load_model(run, safe_mode)
    built = as_seen_by_loss(model, task, run.config.from_logits)
    check_shapes(built.full, task)
    return built


def _load_model(run: SavedRun, safe_mode: bool) -> Any:
    path = str(run.folder / run_folder.MODEL_FILE)
    return load_model(path, run.config, safe_mode)


def build_evaluator(config: ExperimentConfig, task: Task, built: Models) -> Evaluator:
    """Return the evaluator of a run's model, on one device.

    Args:
        config: configuration of the run.
        task: its task, or one on other data.
        built: its model.
    """
    return Evaluator(
        built.trained,
        build_loss(config, task, built.from_logits),
        metrics=build_metrics(config, task, built.from_logits),
        regularizer=build_regularizer(config),
        regularizer_mask=config.regularized_params or kernels,
        precision=config.precision,
        execution=config.execution,
    )


def evaluate_run(run: SavedRun, part: str = "test", safe_mode: bool = True) -> Results:
    """Return the loss and the metrics of a run's model on a part of its data.

    Args:
        run: the run, or one `with_data`.
        part: "train", "validation" or "test". Default: "test".
        safe_mode: refuse a file that contains code. Default: True.

    Raises:
        ValueError, OSError: the run has no such part, or model and data do not fit.
    """
    task = build_saved_task(run)
    examples = getattr(task, part)
    if examples is None:
        raise ValueError(f"part {part}: the run kept no examples for it")
    built = load_models(run, task, safe_mode)
    return build_evaluator(run.config, task, built).evaluate(tuple(examples))


def predict_run(run: SavedRun, data: str | None = None, safe_mode: bool = True) -> np.ndarray:
    """Return the predictions of a run's model: probabilities or scores [N, K], or numbers [N, 1].

    Args:
        run: the run, or one `with_data`.
        data: path of an `.npz` with an array x, or of a `.csv` with the columns that the model
            takes. Default: None, the test examples of the run.
        safe_mode: refuse a file that contains code. Default: True.

    Raises:
        ValueError, OSError: the data are missing or damaged, or model and data do not fit.
    """
    config = run.config
    if data:
        x = load_examples(data, config.data.target, run.feature_names)
    else:
        x = load_data(config).test.x
    model = _load_model(run, safe_mode)
    check_input(model, x.shape[1:], data or config.dataset)
    evaluator = Evaluator(model, precision=config.precision, execution=config.execution)
    predictions: np.ndarray = evaluator.predict(x)
    return predictions
