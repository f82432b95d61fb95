"""`evaluate_run`: the loss and the metrics of a saved run's model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from trainlib.data import Dataset, Examples
from trainlib.data.files import check_labels, load_all_examples
from trainlib.data.labels import CLASSIFICATION, REGRESSION
from trainlib.data.reading import Reading
from trainlib.experiment.dataset_loading import VOCABULARY, data_dtype, takes_sequences
from trainlib.experiment.functions import AUTO
from trainlib.experiment.heads import in_forms
from trainlib.experiment.model_building import matched_task
from trainlib.experiment.result import Log
from trainlib.experiment.saved_run import SavedRun, build_evaluator, build_saved_task, load_models
from trainlib.experiment.task import Task
from trainlib.experiment.task_building import outputs_for
from trainlib.models import RECONSTRUCTING
from trainlib.training.callback import Results
from trainlib.training.paths import expanded, shown


def evaluate_run(
    run: SavedRun, part: str | None = None, safe_mode: bool = True, log: Log = lambda line: None
) -> Results:
    """Return the loss and the metrics of a run's model on a part of its data.

    Args:
        run: the run, possibly with other data, as for `with_data`.
        part: "train", "validation" or "test". Default: None, "test", or all examples of a file
            without parts.
        safe_mode: whether to refuse a file that contains code. Default: True.
        log: function called with lines on differences from the training data. Default: not called.

    Raises:
        ValueError, OSError: the run has no such part, or the data do not suit the model.
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
    """Return the task for an evaluation on all examples of a file."""
    config, path = run.config, expanded(run.config.dataset)
    reading = Reading(
        task=_kind(run),
        dtype=data_dtype(config),
        preprocessing=run.preprocessing,
        images=run.images,
        sequences=takes_sequences(config),
    )
    examples, notes = load_all_examples(path, run.classes, reading)
    check_vocabulary(run, examples.x, config.dataset)
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
    """Return the kind of a run's targets: classes or numbers; "auto" for several outputs."""
    if run.outputs and any(x["classes"] != run.classes for x in run.outputs.values()):
        return AUTO
    return CLASSIFICATION if run.classes else REGRESSION


def _output_classes(run: SavedRun, y: Any, data: str) -> dict[str, int]:
    """Return the number of classes of each output that the targets have arrays for.

    Raises:
        ValueError: the arrays do not match the outputs, or have a class that the model does not
            know.
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
    """Return examples as a data set with the properties of a run's data set."""
    examples = examples or Examples(np.empty(0), np.empty(0))
    return Dataset(name, examples, examples, run.classes, 0.0, run.feature_names, run.class_names)


def check_vocabulary(run: SavedRun, x: np.ndarray, data: str) -> None:
    """Raise `ValueError` if sequences have integers outside the vocabulary of a run's model."""
    known = run.config.model.hyperparameters.get(VOCABULARY)
    if known and not isinstance(x, Mapping) and x.dtype == np.int32 and x.max() >= known:
        raise ValueError(
            f"{shown(data)} holds the integer {x.max()}, but the model knows 0 to {known - 1}"
        )
