"""`SavedRun`: a finished run, read from its folder, with its data and its model."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from trainlib.core.tree import kernels
from trainlib.data import ImageOptions, TablePreprocessing
from trainlib.data.datasets import is_path
from trainlib.data.files import has_parts, is_file_path, is_table
from trainlib.data.preprocessing import preprocessing_of_model, read_preprocessing
from trainlib.experiment import run_folder
from trainlib.experiment.config import ExperimentConfig
from trainlib.experiment.custom_model import check_shapes
from trainlib.experiment.functions import AUTO
from trainlib.experiment.model_building import Models, as_seen_by_loss
from trainlib.experiment.model_signature import loss_weights_of
from trainlib.experiment.objective_building import build_losses, build_metrics, build_regularizer
from trainlib.experiment.targets import target_of
from trainlib.experiment.task import Task
from trainlib.experiment.task_building import build_task
from trainlib.experiment.user_functions import load_model
from trainlib.models import LOGITS_ACTIVATIONS
from trainlib.training.evaluator import Evaluator
from trainlib.training.paths import expanded, shown


class SavedRun(NamedTuple):
    """A finished run.

    Attributes:
        folder: folder of the run.
        config: configuration of the run.
        summary: summary of the run: results, number of classes, names of the features.
        preprocessing: preprocessing rules of its table; None if the data are not a table.
        takes_all: whether the data set is a file without parts, so that all examples are evaluated.
    """

    folder: Path
    config: ExperimentConfig
    summary: Mapping[str, Any]
    preprocessing: TablePreprocessing | None = None
    takes_all: bool = False

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the columns that the model takes; () for images and columns without names."""
        return tuple(self.summary["feature_names"])

    @property
    def classes(self) -> int:
        """Number of classes; 0 if the model predicts numbers."""
        return int(self.summary["classes"])

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes; () for classes without names, and if the model predicts numbers."""
        if not self.classes:
            return ()
        named = tuple(self.summary.get("class_names", ()))
        return named if self.preprocessing is None else self.preprocessing.classes

    @property
    def outputs(self) -> Mapping[str, Mapping[str, Any]]:
        """Number of "classes" and name of the "loss" of each output, by name; {} for one output."""
        found: Mapping[str, Mapping[str, Any]] = self.summary.get("outputs", {})
        return found

    def class_names_of(self, output: str) -> tuple[str, ...]:
        """Return the names of the classes of an output, for several outputs; () for numbers."""
        classes = int(self.outputs[output]["classes"])
        names = self.class_names
        return names if len(names) == classes else tuple(map(str, range(classes)))

    @property
    def images(self) -> ImageOptions:
        """Size, colors and classes of the images in the folder that the model was trained on."""
        data = self.config.data
        return ImageOptions(data.image_size, data.color_mode, self.class_names)

    @property
    def score_name(self) -> str:
        """Name of the predictions for a class: "p" for probabilities, or "score"."""
        return score_name(self.config.loss.name)

    @property
    def activation(self) -> str | None:
        """Activation of the outputs, such as "softmax"; None for none."""
        loss = self.config.loss.name
        return "softmax" if loss == AUTO else target_of(loss).activation


def score_name(loss: str) -> str:
    """Return the name of the predictions for a class: "p" for probabilities, or "score"."""
    activation = "softmax" if loss == AUTO else target_of(loss).activation
    return "p" if activation in LOGITS_ACTIVATIONS else "score"


def read_saved_run(folder: Path, code_path: str | None = None) -> SavedRun:
    """Return the finished run in a folder.

    Args:
        folder: folder of the run.
        code_path: folders of custom modules, if these were moved. Default: None, the folders that
            the run recorded.

    Raises:
        ValueError: the folder is not that of a finished run, or a file is damaged.
    """
    config = run_folder.read_config(folder)
    if code_path is not None:
        config = dataclasses.replace(config, code_path=code_path)
    summary = run_folder.read_summary(folder)
    for name in ("test", "feature_names", "classes"):
        if name not in summary:
            raise ValueError(f"{shown(folder / run_folder.SUMMARY_FILE)}: lacks {name!r}")
    rules = read_preprocessing(folder) or preprocessing_of_model(folder / run_folder.MODEL_FILE)
    return SavedRun(folder, config, summary, rules)


def with_data(run: SavedRun, dataset: str | None = None, data_dir: str | None = None) -> SavedRun:
    """Return the run with another data set.

    Args:
        run: the run.
        dataset: name or path of a data set of the same form. All examples of a file without a test
            part, or of a folder without parts, are evaluated. Default: None, that of the run.
        data_dir: folder that is searched first for its files. Default: None, that of the run.
    """
    config, data = run.config, run.config.data
    if data_dir is not None:
        data = dataclasses.replace(data, data_dir=data_dir)
        moved = expanded(data_dir) / Path(config.dataset).name
        if dataset is None and (
            (is_file_path(config.dataset) and moved.is_file())
            or (config.data.image_size and moved.is_dir())
        ):
            config = dataclasses.replace(config, dataset=str(moved))
    if dataset is None:
        return run._replace(config=dataclasses.replace(config, data=data))
    config = dataclasses.replace(config, dataset=dataset)
    takes_all = is_path(dataset) and not has_parts(expanded(dataset))
    if not is_table(dataset):
        data = dataclasses.replace(data, target=None, sample_weight_column=None, group_column=None)
    return run._replace(config=dataclasses.replace(config, data=data), takes_all=takes_all)


def build_saved_task(run: SavedRun) -> Task:
    """Return the task of a run, with the columns and the classes of its model."""
    classes = {"": run.classes, **{name: x["classes"] for name, x in run.outputs.items()}}
    return build_task(run.config, run.preprocessing, classes, run.class_names)


def load_models(run: SavedRun, task: Task, safe_mode: bool = True) -> Models:
    """Return the saved model of a run, with the part whose outputs the loss takes.

    Args:
        run: the run.
        task: data of the run, or other data in the same form.
        safe_mode: whether to refuse a file that contains code. Default: True.

    Raises:
        ValueError, FileNotFoundError: there is no model, or it does not suit the data.
    """
    model = load_run_model(run, safe_mode)
    built = as_seen_by_loss(model, task, run.config.from_logits)
    check_shapes(built.full, task)
    return built


def load_run_model(run: SavedRun, safe_mode: bool = True) -> Any:
    """Return the model in a run's folder, which takes unscaled data and ends in predictions.

    Raises:
        ValueError, FileNotFoundError: there is no model, or it cannot be loaded.
    """
    path = str(run.folder / run_folder.MODEL_FILE)
    return load_model(path, run.config, safe_mode)


def build_evaluator(config: ExperimentConfig, task: Task, built: Models) -> Evaluator:
    """Return the evaluator of a run's model, on one device.

    Args:
        config: configuration of the run.
        task: data of the run, or other data in the same form.
        built: the model, as built by `build_models`.
    """
    return Evaluator(
        built.trained,
        build_losses(config, task, built.from_logits),
        metrics=build_metrics(config, task, built.from_logits),
        loss_weights=loss_weights_of(config, task.signature),
        regularizer=build_regularizer(config),
        regularizer_mask=config.regularized_params or kernels,
        precision=config.precision,
        execution=config.execution,
    )
