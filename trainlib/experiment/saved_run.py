"""A finished run, read from its folder, to evaluate its model or predict with it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypedDict

import numpy as np

from trainlib.core.tree import kernels
from trainlib.core.types import Tree
from trainlib.data import Dataset, Examples, ImageOptions, TablePreprocessing, load_examples
from trainlib.data.datasets import is_path
from trainlib.data.files import (
    check_labels,
    has_parts,
    is_file_path,
    is_table,
    load_all_examples,
    load_inputs,
)
from trainlib.data.image_folder import image_files, is_images, load_images
from trainlib.data.labels import CLASSIFICATION, REGRESSION
from trainlib.data.preprocessing import preprocessing_of_model, read_preprocessing
from trainlib.data.reading import Reading
from trainlib.experiment import run_folder
from trainlib.experiment.building import (
    Models,
    as_seen_by_loss,
    build_losses,
    build_metrics,
    build_regularizer,
    matched_task,
)
from trainlib.experiment.config import ExperimentConfig
from trainlib.experiment.custom_model import check_input, check_shapes
from trainlib.experiment.functions import AUTO
from trainlib.experiment.heads import in_forms
from trainlib.experiment.result import Log
from trainlib.experiment.targets import target_of
from trainlib.experiment.dataset_loading import VOCABULARY, data_dtype, takes_sequences
from trainlib.experiment.task import Task
from trainlib.experiment.task_building import build_task, outputs_for
from trainlib.experiment.user_functions import load_model
from trainlib.experiment.model_signature import (
    PLAIN_SIGNATURE,
    columns_by_name,
    inputs_of,
    loss_weights_of,
    shapes_of,
    model_signature,
)
from trainlib.models import LOGITS_ACTIVATIONS, RECONSTRUCTING
from trainlib.models.signature import ModelSignature
from trainlib.tools.uncertainty import UncertainPrediction, mc_predict
from trainlib.training.callback import Results
from trainlib.training.evaluator import Evaluator
from trainlib.training.paths import expanded, shown

if TYPE_CHECKING:
    from typing_extensions import Unpack


class SampleOptions(TypedDict, total=False):
    """Options of `tl.mc_predict` that do not depend on the model."""

    samples: int
    masks: str
    seed: int


class SavedRun(NamedTuple):
    """A finished run.

    Attributes:
        folder: its folder.
        config: its configuration.
        summary: its summary: results, number of classes, names of the features.
        preprocessing: rules of the columns of its table; None if it was trained on other data.
        takes_all: whether its data set is a file without parts, whose examples are all evaluated.
    """

    folder: Path
    config: ExperimentConfig
    summary: Mapping[str, Any]
    preprocessing: TablePreprocessing | None = None
    takes_all: bool = False

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the columns that the model takes; () for images and unnamed columns."""
        return tuple(self.summary["feature_names"])

    @property
    def classes(self) -> int:
        """Number of classes; 0 if the model predicts numbers."""
        return int(self.summary["classes"])

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the classes; () if they have none, and for numbers."""
        named = tuple(self.summary.get("class_names", ()))
        return named if self.preprocessing is None else self.preprocessing.classes

    @property
    def outputs(self) -> Mapping[str, Mapping[str, Any]]:
        """Number of "classes" and name of the "loss" of each of several outputs; {} for one."""
        found: Mapping[str, Mapping[str, Any]] = self.summary.get("outputs", {})
        return found

    def class_names_of(self, output: str) -> tuple[str, ...]:
        """Return the names of the classes of one of several outputs; () for numbers."""
        classes = int(self.outputs[output]["classes"])
        names = self.class_names
        return names if len(names) == classes else tuple(map(str, range(classes)))

    @property
    def images(self) -> ImageOptions:
        """Size, colors and classes of the images of a folder that the model was trained on."""
        data = self.config.data
        return ImageOptions(data.image_size, data.color_mode, self.class_names)

    @property
    def score_name(self) -> str:
        """Short name of what the model predicts for a class: "p" for a probability, or "score"."""
        return score_name(self.config.loss.name)

    @property
    def activation(self) -> str | None:
        """Activation of the outputs that the loss needs, such as "softmax"; None for none."""
        loss = self.config.loss.name
        return "softmax" if loss == AUTO else target_of(loss).activation


def score_name(loss: str) -> str:
    """Return the short name of what a loss has a model predict for a class: "p" or "score"."""
    activation = "softmax" if loss == AUTO else target_of(loss).activation
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
            raise ValueError(f"{shown(folder / run_folder.SUMMARY_FILE)}: lacks {name!r}")
    rules = read_preprocessing(folder) or preprocessing_of_model(folder / run_folder.MODEL_FILE)
    return SavedRun(folder, config, summary, rules)


def with_data(run: SavedRun, dataset: str | None = None, data_dir: str | None = None) -> SavedRun:
    """Return the run with another data set.

    Args:
        run: the run.
        dataset: name or path of a data set that is like that of the run. Default: None, its own.
            A file without a test part is evaluated whole.
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
    """Return the task of a run, with the columns and the classes that its model knows."""
    classes = {"": run.classes, **{name: x["classes"] for name, x in run.outputs.items()}}
    return build_task(run.config, run.preprocessing, classes, run.class_names)


def load_models(run: SavedRun, task: Task, safe_mode: bool = True) -> Models:
    """Return the saved model of a run, as its loss sees it.

    Args:
        run: the run.
        task: its task, or one on other data.
        safe_mode: refuse a file that contains code. Default: True.

    Raises:
        ValueError, FileNotFoundError: there is no model, or it does not fit the data.
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
        task: its task, or one on other data.
        built: its model.
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


def evaluate_run(
    run: SavedRun, part: str | None = None, safe_mode: bool = True, log: Log = lambda line: None
) -> Results:
    """Return the loss and the metrics of a run's model on a part of its data.

    Args:
        run: the run, or one `with_data`.
        part: "train", "validation" or "test". Default: "test", or all examples of a file without
            parts.
        safe_mode: refuse a file that contains code. Default: True.
        log: called with lines on what is unlike the training data.

    Raises:
        ValueError, OSError: the run has no such part, or model and data do not fit.
    """
    if run.takes_all and part is not None:
        raise ValueError(f"part {part}: all examples of {shown(run.config.dataset)} are evaluated")
    task = _whole_task(run) if run.takes_all else build_saved_task(run)
    for line in task.dataset.notes if run.takes_all else ():
        log(line)
    task.part(part or "test")
    built = load_models(run, task, safe_mode)
    task = matched_task(task, built)
    examples = task.arrays(task.part(part or "test"))
    return build_evaluator(run.config, task, built).evaluate(examples)


def _whole_task(run: SavedRun) -> Task:
    """Return the task of evaluating the model of a run on all examples of a file."""
    config, path = run.config, expanded(run.config.dataset)
    reading = Reading(
        task=_kind(run),
        dtype=data_dtype(config),
        preprocessing=run.preprocessing,
        images=run.images,
        sequences=takes_sequences(config),
    )
    examples, notes = load_all_examples(path, run.classes, reading)
    _check_vocabulary(run, examples.x, config.dataset)
    if config.model.name in RECONSTRUCTING:
        examples = Examples(examples.x, examples.x)
    dataset = _dataset(run, path.name, examples)._replace(
        notes=notes, output_classes=_output_classes(run, examples.y, config.dataset)
    )
    signature, heads, first = outputs_for(config, dataset)
    examples = in_forms(examples, first.target, heads, dataset.classes)
    described = first.loss, first.target, first.units, first.metrics
    return Task(dataset, examples, None, examples, *described, signature, None, heads)


def _kind(run: SavedRun) -> str:
    """Return what the targets of a run are: classes, numbers or, by output, as the data show."""
    if run.outputs and any(x["classes"] != run.classes for x in run.outputs.values()):
        return AUTO
    return CLASSIFICATION if run.classes else REGRESSION


def _output_classes(run: SavedRun, y: Any, data: str) -> dict[str, int]:
    """Return the number of classes of each array of targets, as the model knows them.

    Raises:
        ValueError: the arrays are not those of the outputs, or have a class that it does not know.
    """
    if not isinstance(y, Mapping):
        return {}
    if set(y) != set(run.outputs):
        raise ValueError(
            f"{shown(data)} has {', '.join(f'y_{name}' for name in y)}, but the outputs of the "
            f"model are {', '.join(run.outputs) or 'one'}"
        )
    for name, targets in y.items():
        check_labels(targets, run.outputs[name]["classes"], f"{shown(data)}, y_{name}")
    return {name: int(run.outputs[name]["classes"]) for name in y}


def _dataset(run: SavedRun, name: str, examples: Examples | None = None) -> Dataset:
    """Return examples as a data set like that of a run."""
    examples = examples or Examples(np.empty(0), np.empty(0))
    return Dataset(name, examples, examples, run.classes, 0.0, run.feature_names, run.class_names)


def _check_vocabulary(run: SavedRun, x: np.ndarray, data: str) -> None:
    """Raise `ValueError` for sequences with integers that a run's model does not know."""
    known = run.config.model.hyperparameters.get(VOCABULARY)
    if known and not isinstance(x, Mapping) and x.dtype == np.int32 and x.max() >= known:
        raise ValueError(
            f"{shown(data)} holds the integer {x.max()}, but the model knows 0 to {known - 1}"
        )


def image_names(run: SavedRun, data: str | None) -> tuple[str, ...]:
    """Return the files of the images that `predict_run` predicts; () for other data."""
    return tuple(image_files(data)) if data and _takes_images(run, data) else ()


def _takes_images(run: SavedRun, data: str) -> bool:
    """Return whether data to predict are images in files.

    Raises:
        ValueError: they are, but the model was not trained on a folder of images.
    """
    if not is_images(data):
        return False
    if run.config.data.image_size is None:
        raise ValueError(
            f"{shown(data)} holds images, but the run was not trained on a folder of images; give "
            "an .npz with an array x"
        )
    return True


def predict_run(
    run: SavedRun,
    data: str | None = None,
    safe_mode: bool = True,
    log: Log = lambda line: None,
) -> np.ndarray | dict[str, np.ndarray]:
    """Return the predictions of a run's model: probabilities or scores [N, K], or numbers [N, 1].

    Of a model of several outputs they are such arrays by output.

    Args:
        run: the run, or one `with_data`.
        data: path of an `.npz` with an array x, or x_NAME of several inputs; of a table with the
            columns that the model takes; or of a folder of images; or paths of images,
            comma-separated. Default: None, the test examples of the run.
        safe_mode: refuse a file that contains code. Default: True.
        log: called with lines on what is unlike the training data.

    Raises:
        ValueError, OSError: the data are missing or damaged, or model and data do not fit.
    """
    model, x = _model_and_inputs(run, data, safe_mode, log)
    evaluator = Evaluator(model, precision=run.config.precision, execution=run.config.execution)
    predictions: np.ndarray | dict[str, np.ndarray] = evaluator.predict(x)
    if not isinstance(predictions, Mapping):
        return predictions
    return {name: predictions[name] for name in run.outputs or predictions}


def mc_predict_run(
    run: SavedRun,
    data: str | None = None,
    safe_mode: bool = True,
    log: Log = lambda line: None,
    **options: Unpack[SampleOptions],
) -> UncertainPrediction:
    """Return the predictions of a run's model with their uncertainty, by `tl.mc_predict`.

    Args:
        run, data, safe_mode, log: as of `predict_run`.
        **options: `samples`, `masks` and `seed`, as of `tl.mc_predict`.

    Raises:
        ValueError, OSError: as `predict_run` says; the model has no dropout.
    """
    model, x = _model_and_inputs(run, data, safe_mode, log)
    if run.score_name != "p" or not run.classes:
        return mc_predict(model, x, **options)
    return mc_predict(model, x, activation=run.activation, from_logits=False, **options)


def _model_and_inputs(
    run: SavedRun, data: str | None, safe_mode: bool, log: Log
) -> tuple[Any, Tree]:
    """Return a run's model, and the inputs that it predicts for."""
    x = load_run_inputs(run, data, log)
    model = load_run_model(run, safe_mode)
    signature = run_signature(run, x)
    check_input(model, shapes_of(signature, x), data or run.config.dataset)
    return model, inputs_of(signature, x)


def load_run_inputs(run: SavedRun, data: str | None = None, log: Log = lambda line: None) -> Any:
    """Return inputs of a run, before they are divided among several inputs of its model.

    Args:
        run, data, log: as of `predict_run`.

    Raises:
        ValueError, OSError: the data are missing or damaged.
    """
    config = run.config
    if data and is_table(data) and run.preprocessing is not None:
        x, notes = load_inputs(expanded(data), run.preprocessing, data_dtype(config))
        for line in notes:
            log(line)
        return x
    if data and _takes_images(run, data):
        return load_images(image_files(data), run.images)
    if data:
        found = load_examples(data, dtype=data_dtype(config), sequences=takes_sequences(config))
        _check_vocabulary(run, found, data)
        return found
    return build_saved_task(run).part("test").x


def run_signature(run: SavedRun, x: Any) -> ModelSignature:
    """Return which columns of its inputs a run's model takes as which of several inputs."""
    columns = columns_by_name(run.feature_names, run.preprocessing)
    return model_signature(run.config, shapes_of(PLAIN_SIGNATURE, x), columns)
