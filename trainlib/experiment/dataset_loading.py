"""The data set of an experiment: loaded by name, from a file, or from a custom function."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np

from trainlib.data import (
    Dataset,
    Examples,
    ImageOptions,
    TablePreprocessing,
    as_dataset,
    load_dataset,
)
from trainlib.data.datasets import checked_folder, is_path
from trainlib.data.files import is_table, load_file
from trainlib.data.labels import CLASSIFICATION, REGRESSION
from trainlib.data.preprocessing import preprocessing_of_model
from trainlib.data.reading import Reading
from trainlib.experiment.config import ExperimentConfig
from trainlib.experiment.functions import AUTO, takes
from trainlib.experiment.splits import training_parts
from trainlib.experiment.targets import target_of
from trainlib.experiment.user_functions import import_modules
from trainlib.training.paths import expanded, shown
from trainlib.training.strategies import get_strategy
from trainlib.user_code import import_function, is_spec

VOCABULARY = "vocabulary"
"""Hyperparameter by which models for sequences of integers are recognised."""


def load_data(
    config: ExperimentConfig,
    preprocessing: TablePreprocessing | None = None,
    class_names: tuple[str, ...] = (),
    training_rows: Callable[[np.ndarray], np.ndarray] | None = None,
) -> Dataset:
    """Return the data set of a configuration, after importing the modules that it names.

    Args:
        config: the experiment.
        preprocessing: preprocessing rules of a table, as for `build_task`. Default: None.
        class_names: names of the classes, as for `build_task`. Default: ().
        training_rows: function of the targets outside the test part that returns the indices of
            the examples to which the rules of a table are fitted. Default: None, the training
            examples of the configuration.

    Raises:
        ValueError, TypeError, OSError: the data are missing or damaged, or a setting is for other
            data.
    """
    import_modules(config)
    name = config.dataset
    _check_column_settings(config)
    if is_spec(name) and not is_path(name):
        return _from_function(config)
    _check_image_options(config)
    if not is_path(name):
        data = config.data
        return load_dataset(
            name, data.data_dir, data.target, task=_task(config), dtype=data_dtype(config)
        )
    checked_folder(config.data.data_dir)
    return load_file(expanded(name), _reading(config, preprocessing, class_names, training_rows))


def _from_function(config: ExperimentConfig) -> Dataset:
    """Return the data set that a custom function makes."""
    name, data = config.dataset, config.data
    if config.replicas is not None:  # devices are split before the function uses them
        get_strategy(config.strategy, config.replicas)
    function = import_function("dataset", name, config.code_path)
    if data.stream_pipeline:  # seeds random operations of the pipeline that have no seed
        keras.utils.set_random_seed(config.seed)
    return as_dataset(
        name,
        function(),
        dtype=data_dtype(config),
        task=_task(config),
        output_task=data.task,
        stratify=data.stratify != "no",
        sequences=takes_sequences(config),
        stream=data.stream_pipeline,
    )


def _reading(
    config: ExperimentConfig,
    preprocessing: TablePreprocessing | None,
    class_names: tuple[str, ...],
    training_rows: Callable[[np.ndarray], np.ndarray] | None,
) -> Reading:
    """Return how the file of a configuration is read; arguments as for `load_data`."""
    data, stratify = config.data, config.data.stratify != "no"

    def own_rows(y: np.ndarray) -> np.ndarray:
        return training_parts(config, Examples(y, y), stratify)[0]

    return Reading(
        target=data.target,
        task=_task(config),
        output_task=data.task,
        dtype=data_dtype(config),
        preprocessing=preprocessing or _preprocessing_of_model(config),
        training_rows=training_rows or own_rows,
        stratify=stratify,
        images=ImageOptions(data.image_size, data.color_mode, class_names),
        sequences=takes_sequences(config),
        weight_column=data.sample_weight_column,
        group_column=data.group_column,
        new_labels=preprocessing is None and config.transfer.replaces_head,
    )


def _check_column_settings(config: ExperimentConfig) -> None:
    """Raise `ValueError` for settings of tables or pipelines where the data are something else."""
    name, data = config.dataset, config.data
    for setting in ("sample_weight_column", "group_column"):
        column = getattr(data, setting)
        if column is not None and not is_table(name):
            raise ValueError(
                f"{setting} is {column!r}, but only a table has columns; dataset is {shown(name)}"
            )
    if data.stream_pipeline and (is_path(name) or not is_spec(name)):
        raise ValueError(
            "stream_pipeline is for your own pipelines, given as module:function, but dataset is "
            f"{shown(name)}"
        )


def _check_image_options(config: ExperimentConfig) -> None:
    """Raise `ValueError` for the size or the colors of images if the data are not a folder."""
    data, name = config.data, config.dataset
    if is_path(name) and (expanded(name).is_dir() or not expanded(name).exists()):
        return
    for option in ("image_size", "color_mode"):
        if getattr(data, option) not in (None, AUTO):
            raise ValueError(
                f"{option} is for folders of images, but dataset is {shown(name)}: leave it out"
            )


def _task(config: ExperimentConfig) -> str:
    """Return the kind of task that the configuration or its loss determines, else "auto".

    Raises:
        ValueError: the configuration and its loss contradict each other.
    """
    stated, loss = config.data.task, config.loss.name
    if loss == AUTO or is_spec(loss):
        return stated
    implied = CLASSIFICATION if target_of(loss).by_class else REGRESSION
    if stated not in (AUTO, implied):
        raise ValueError(f"task is {stated}, but loss {loss} is for {implied}")
    return implied


def takes_sequences(config: ExperimentConfig) -> bool:
    """Return whether the model of a configuration takes sequences of integers."""
    return VOCABULARY in takes("model", config.model.name)


def data_dtype(config: ExperimentConfig) -> str:
    """Return the dtype in which an experiment reads its data."""
    return "float64" if config.precision == "float64" else "float32"


def _preprocessing_of_model(config: ExperimentConfig) -> TablePreprocessing | None:
    """Return the preprocessing rules in the model's `.keras` file, or beside it in a run folder."""
    if not config.model.name.endswith(".keras"):
        return None
    return preprocessing_of_model(expanded(config.model.name))
