"""Pretraining of an experiment's model: its data, and its records in a run folder."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from trainlib.data import load_examples
from trainlib.data.datasets import is_path
from trainlib.data.files import has_parts, is_file_path, is_table, load_inputs
from trainlib.data.image_folder import load_images
from trainlib.data.image_listing import image_files, is_images
from trainlib.experiment.config import ExperimentConfig
from trainlib.experiment.dataset_loading import data_dtype, load_data
from trainlib.experiment.model_building import Models
from trainlib.experiment.pretrain_config import MASKED, NONE
from trainlib.experiment.result import Log
from trainlib.experiment.task import Task
from trainlib.tools.pretraining import PretrainingStage, check_encoder, pretrain
from trainlib.training.cluster import cluster
from trainlib.training.files import as_json, read_text, write_text
from trainlib.training.paths import expanded, shown
from trainlib.training.trainable import set_trainable_flags, trainable_flags

PRETRAINING_FILE = "pretraining.json"
"""The file of a run folder with the history of pretraining."""


def pretrain_models(
    config: ExperimentConfig, task: Task, built: Models, log: Log | None
) -> list[dict[str, Any]]:
    """Train the hidden layers of a model without labels, and return a record of each stage.

    Layers that the experiment freezes are trained, too, and frozen again afterwards.

    Args:
        config: the experiment.
        task: data of the experiment, with its loss and targets.
        built: the model, as built by `build_models`; changed in place.
        log: function called with a line for each epoch. None: only check that pretraining is
            possible.

    Returns:
        The records, as for `read_pretraining`; [] without pretraining.

    Raises:
        ValueError, TypeError, OSError: the data are missing or do not suit the model, or the model
            cannot be pretrained by this method.
    """
    settings = config.pretrain
    if settings.method == NONE:
        return []
    workers = cluster()
    if workers is not None and len(workers.addresses) > 1:
        raise ValueError(
            "pretrain is for one process: pretrain in a separate run, and train its folder "
            "further, by model=RUN"
        )
    x = unlabelled_inputs(config, task)
    check_encoder(built.full, settings.layerwise)
    if log is None:
        return []
    flags = trainable_flags(built.full)
    built.plan.restore(built.full)
    options: Any = {k: v for k, v in dataclasses.asdict(settings).items() if k != "data"}
    options |= {"seed": config.seed, "groups": _groups(task, settings.method), "log": log}
    try:
        stages = pretrain(built.full, x, **options)
    finally:
        set_trainable_flags(built.full, flags)
    return [_record(stage) for stage in stages]


def unlabelled_inputs(config: ExperimentConfig, task: Task) -> np.ndarray:
    """Return the inputs for pretraining.

    Raises:
        ValueError, TypeError, OSError: the data are missing, or have another form than the task's.
    """
    name = config.pretrain.data
    x: Any = task.dataset.train.x if name is None else _load(config, task, name)
    if not isinstance(x, Mapping) and not len(x):  # the data of an estimator are those of the task
        x = task.train.x
    if isinstance(x, Mapping):
        raise ValueError("pretrain is for models of one input, but the data have several")
    if x.shape[1:] != task.train.x.shape[1:]:
        raise ValueError(
            f"pretrain_data: an example of {shown(name or config.dataset)} has shape "
            f"{x.shape[1:]}, one of {task.dataset.name} {task.train.x.shape[1:]}"
        )
    found: np.ndarray = x
    return found


def _load(config: ExperimentConfig, task: Task, name: str) -> Any:
    """Return the inputs of a data set; its labels are ignored."""
    rules = task.dataset.preprocessing
    if is_path(name) and is_table(name) and rules is not None:
        return load_inputs(expanded(name), rules, data_dtype(config))[0]
    if is_path(name) and is_file_path(name) and not has_parts(expanded(name)):
        return load_examples(name, dtype=data_dtype(config))
    images = task.dataset.image_options
    if is_path(name) and is_images(name) and images is not None:
        return load_images(image_files(name), images)
    data = dataclasses.replace(config.data, target=None)
    return load_data(dataclasses.replace(config, dataset=name, data=data)).train.x


def write_pretraining(folder: Path, stages: Sequence[Mapping[str, Any]]) -> None:
    """Write the records of the stages of pretraining into a run's folder, if there are any."""
    if stages:
        write_text(folder / PRETRAINING_FILE, as_json(list(stages), indent=2) + "\n")


def read_pretraining(folder: Path) -> list[dict[str, Any]]:
    """Return the records of the stages of pretraining in a run's folder; [] if there are none.

    Raises:
        ValueError: the file is damaged.
    """
    file = folder / PRETRAINING_FILE
    if not file.is_file():
        return []
    try:
        return [dict(stage) for stage in json.loads(read_text(file))]
    except (ValueError, TypeError) as error:
        raise ValueError(f"{shown(file)}: {error}") from error


def pretraining_summary(
    config: ExperimentConfig, stages: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Return the entry of a run's summary about pretraining; {} without pretraining."""
    if not stages:
        return {}
    ends = [{k: x for k, x in stage.items() if k != "history"} for stage in stages]
    data = config.pretrain.data or config.dataset
    return {"pretraining": {"method": config.pretrain.method, "data": data, "stages": ends}}


def _groups(task: Task, method: str) -> list[int] | None:
    """Return the group of each input: the number of its column in the table. None for no table."""
    rules = task.dataset.preprocessing
    if rules is None or method != MASKED:
        return None
    return [i for i, column in enumerate(rules.columns) for _ in column.inputs]


def _record(stage: PretrainingStage) -> dict[str, Any]:
    """Return the record of a stage."""
    last = stage.history[-1]
    return {
        "stage": stage.name,
        "examples": stage.examples,
        "epochs": len(stage.history),
        **{name: last[name] for name in ("loss", "val_loss") if name in last},
        "seconds": round(sum(x["seconds"] for x in stage.history), 3),
        "history": stage.history,
    }
