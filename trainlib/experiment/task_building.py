"""Build the task of an experiment: load its data, split them, and resolve "auto"."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from trainlib.data import Dataset, Examples, TablePreprocessing, take
from trainlib.data.examples import pick
from trainlib.experiment.config import ExperimentConfig
from trainlib.experiment.dataset_loading import load_data
from trainlib.experiment.heads import Head, head_for, heads_for, in_forms
from trainlib.experiment.model_signature import (
    PLAIN_SIGNATURE,
    columns_by_name,
    model_signature,
    shapes_of,
    texts_by_output,
)
from trainlib.experiment.splits import oversampled_indices, training_parts, used_size
from trainlib.experiment.streaming import check_streamed
from trainlib.experiment.targets import loss_name, reconstructed
from trainlib.experiment.task import Task
from trainlib.models import RECONSTRUCTING
from trainlib.models.signature import ModelSignature


def build_task(
    config: ExperimentConfig,
    preprocessing: TablePreprocessing | None = None,
    classes: int | Mapping[str, int] = 0,
    class_names: tuple[str, ...] = (),
) -> Task:
    """Load and split the data, and resolve "auto" for the loss and the metrics.

    Args:
        config: the experiment.
        preprocessing: preprocessing rules of a table. Default: None, those in the `.keras` file of
            the model, or rules fitted to the training examples.
        classes: number of classes of a trained model; a mapping by output if it has several.
            Default: 0, the number of classes in the data.
        class_names: for folders of images, the names of the classes in the order of their labels.
            Default: (), the subfolders in alphabetical order.

    Raises:
        ValueError, TypeError, OSError: the data are missing, damaged or too few, or do not suit
            the loss.
    """
    dataset = load_data(config, preprocessing, class_names)
    return split_task(config, _with_known_classes(dataset, classes))


def split_task(config: ExperimentConfig, dataset: Dataset) -> Task:
    """Split the data of an experiment, and resolve "auto" for the loss and the metrics.

    Args:
        config: the experiment.
        dataset: data set of the experiment.

    Raises:
        ValueError, TypeError: the data are too few, or do not suit the loss.
    """
    if config.model.name in RECONSTRUCTING:
        dataset = reconstructed(dataset)
    if dataset.stream is not None:
        check_streamed(config, dataset)
    signature, heads, first = outputs_for(config, dataset)

    def in_form(part: Examples) -> Examples:
        return in_forms(part, first.target, heads, dataset.classes)

    train, test = in_form(dataset.train), in_form(dataset.test)
    if dataset.validation is None:
        kept, others = training_parts(config, dataset.train, dataset.stratified)
        validation = None if others is None else pick(train, others)
    else:
        kept, validation = np.arange(used_size(config, train.size)), in_form(dataset.validation)
    if config.data.oversample:
        if heads:
            raise ValueError("oversample is for one array of targets: give weights of the examples")
        repeated = kept[oversampled_indices(config, train.y[kept], first.target)]
        line = f"oversampled: {len(repeated)} training examples from {len(kept)}"
        dataset, kept = dataset._replace(notes=(*dataset.notes, line)), repeated
    is_start = np.array_equal(kept, np.arange(len(kept)))  # `take` copies nothing
    return Task(
        dataset,
        take(train, len(kept)) if is_start else pick(train, kept),
        validation,
        test,
        first.loss,
        first.target,
        first.units,
        first.metrics,
        signature,
        None if dataset.weights is None else dataset.weights[kept],
        heads,
    )


def outputs_for(
    config: ExperimentConfig, dataset: Dataset
) -> tuple[ModelSignature, dict[str, Head], Head]:
    """Return the signature of the model, the heads of several outputs, and the main head.

    Args:
        config: the experiment.
        dataset: data set of the experiment.

    Raises:
        ValueError: the data do not suit the loss, or lack a column.
    """
    shapes = shapes_of(PLAIN_SIGNATURE, dataset.train.x)
    signature = model_signature(config, shapes, columns_of(dataset))
    if not dataset.output_classes:
        loss = loss_name(config.loss.name, dataset, config.data.task)
        return signature, {}, head_for(config, loss, dataset, shapes)
    signature = signature._replace(outputs=tuple(dataset.output_classes))
    heads = heads_for(config, dataset, texts_by_output("output_losses", config, signature))
    return signature, heads, next(iter(heads.values()))


def columns_of(dataset: Dataset) -> dict[str, tuple[int, ...]]:
    """Return the positions in x of the columns of a data set, by name."""
    return columns_by_name(dataset.feature_names, dataset.preprocessing)


def _with_known_classes(dataset: Dataset, classes: int | Mapping[str, int]) -> Dataset:
    """Return a data set with the numbers of classes of a trained model.

    Raises:
        ValueError: the data have a class that the model does not know.
    """
    known = classes if isinstance(classes, Mapping) else {"": classes}
    counts = {}
    for name, count in (dataset.output_classes or {"": dataset.classes}).items():
        most = known.get(name, 0)
        if most and count > most:
            where = f"y_{name} of {dataset.name}" if name else dataset.name
            raise ValueError(
                f"{where} has the class {count - 1}, but the model knows the classes 0 to "
                f"{most - 1}"
            )
        counts[name] = max(count, most) if count else 0
    dataset = dataset._replace(classes=next(iter(counts.values())))
    return dataset._replace(output_classes=counts) if dataset.output_classes else dataset
