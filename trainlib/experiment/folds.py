"""Folds of a cross-validation: the indices of their examples, and their tasks.

Nothing is fitted to the held-out examples of a fold. The rules of a table's columns are fitted
again in each fold; the scaling of inputs and targets, class weights and oversampling always use the
training examples of a task only.
"""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import numpy as np

from trainlib.core.checks import check_choice, check_integer
from trainlib.data import Dataset, Examples
from trainlib.data.examples import pick
from trainlib.data.files import is_table
from trainlib.experiment.balance import labels_of
from trainlib.experiment.config import ExperimentConfig
from trainlib.experiment.dataset_loading import load_data
from trainlib.experiment.splits import training_parts
from trainlib.experiment.task import Task
from trainlib.experiment.task_building import split_task

KINDS = ("auto", "plain", "stratified", "grouped", "stratified_grouped")
"""Kinds of folds."""


class Fold(NamedTuple):
    """A fold of the examples outside the test part.

    Attributes:
        train: sorted indices of the training examples.
        held_out: sorted indices of the held-out examples, on which the model is evaluated.
    """

    train: np.ndarray
    held_out: np.ndarray


def split_folds(
    task: Task,
    folds: int = 5,
    kind: str = "auto",
    repeats: int = 1,
    groups: np.ndarray | None = None,
    seed: int = 0,
) -> list[Fold]:
    """Split the training examples of a task into folds, by scikit-learn.

    Args:
        task: a task; its N training examples are split.
        folds: number of folds, at least 2. Default: 5.
        kind: "plain": at random; "stratified": each fold has its share of each class; "grouped": a
            fold holds out whole groups; "stratified_grouped": both; "auto", the default: grouped
            if there are groups, and stratified for classes.
        repeats: number of splits, each in another order. Default: 1.
        groups: group of each example, [N]. Default: None, the groups of the data set.
        seed: seed of the order; repeat r has the seed `seed + r`. Default: 0.

    Returns:
        folds * repeats folds, ordered by repeat. In a repeat, each example is held out once.

    Raises:
        ValueError, TypeError: an argument is out of its range, there are fewer examples, groups or
            examples of a class than folds, or scikit-learn is not installed.

    Example:
        >>> from trainlib.experiment.folds import split_folds
        >>> from trainlib.experiment.task_building import build_task
        >>> config = tl.ExperimentConfig(data=tl.DataConfig(validation_split=0))
        >>> [len(fold.held_out) for fold in split_folds(build_task(config), 3)]
        [480, 479, 479]
    """
    check_choice("kind", kind, KINDS)
    check_integer("folds", folds, at_least=2)
    check_integer("repeats", repeats, at_least=1)
    size = task.train.size
    if groups is None and task.dataset.groups is not None:
        groups = task.dataset.groups[:size]
    labels = labels_of(task.train.y) if task.target.by_class else None
    kind = _kind(kind, labels, groups)
    _check_sizes(kind, folds, labels, groups, size)
    found: list[Fold] = []
    for repeat in range(repeats):
        splitter = _splitter(kind, folds, seed + repeat)
        y = np.zeros(size) if labels is None else labels
        for train, held_out in splitter.split(np.zeros((size, 1)), y, groups):
            found.append(Fold(np.sort(train), np.sort(held_out)))
    return found


def _kind(kind: str, labels: np.ndarray | None, groups: np.ndarray | None) -> str:
    """Resolve the kind "auto", and check that the data suit the kind."""
    if kind == "auto":
        grouped, stratified = groups is not None, labels is not None
        names = {(True, True): "stratified_grouped", (True, False): "grouped"}
        return names.get((grouped, stratified), "stratified" if stratified else "plain")
    if "stratified" in kind and labels is None:
        raise ValueError(f"fold_kind {kind} is for classes, but the targets are numbers")
    if "grouped" in kind and groups is None:
        raise ValueError(f"fold_kind {kind} needs groups: give group_column")
    return kind


def _check_sizes(
    kind: str, folds: int, labels: np.ndarray | None, groups: np.ndarray | None, size: int
) -> None:
    """Raise `ValueError` if there are too few examples, groups or examples of a class."""
    if "grouped" in kind:
        assert groups is not None
        if len(groups) != size:
            raise ValueError(
                f"groups must have a value for each of {size} examples, got {len(groups)}"
            )
        if (count := len(np.unique(groups))) < folds:
            raise ValueError(f"folds is {folds}, but there are only {count} groups")
    elif kind == "stratified":
        assert labels is not None
        classes, counts = np.unique(labels, return_counts=True)
        if counts.min() < folds:
            raise ValueError(
                f"folds is {folds}, but class {classes[counts.argmin()]} has only {counts.min()} "
                "examples: give fewer folds, or fold_kind plain"
            )
    elif size < folds:
        raise ValueError(f"folds is {folds}, but there are only {size} examples")


def _splitter(kind: str, folds: int, seed: int) -> Any:
    """Return the splitter of scikit-learn."""
    try:
        from sklearn import model_selection
    except ModuleNotFoundError:
        raise ValueError("folds needs scikit-learn: pip install scikit-learn") from None
    name = {
        "plain": "KFold",
        "stratified": "StratifiedKFold",
        "grouped": "GroupKFold",
        "stratified_grouped": "StratifiedGroupKFold",
    }[kind]
    return getattr(model_selection, name)(folds, shuffle=True, random_state=seed)


def whole_task(config: ExperimentConfig) -> Task:
    """Return the task whose training examples are all examples outside the test part.

    Raises:
        ValueError, TypeError, OSError: as for `build_task`; or the data set has a validation part.
    """
    if config.data.stream_pipeline:
        raise ValueError("folds needs all examples in memory: leave out stream_pipeline")
    whole = _data(config, validation_split=0.0, oversample=False)
    task = split_task(whole, load_data(whole))
    if task.heads:
        raise ValueError("folds is for one array of targets: name the arrays x and y")
    if task.dataset.validation is not None:
        raise ValueError(
            f"{task.dataset.name} comes with validation examples, which folds do not split: give "
            "them as training examples"
        )
    return task


def fold_task(config: ExperimentConfig, dataset: Dataset, fold: Fold) -> Task:
    """Return the task of a fold; its test part is the held-out examples.

    The other examples are split into training and validation examples, and oversampled, as the
    configuration says.

    Args:
        config: the experiment.
        dataset: the data set of the task that was split.
        fold: the fold.

    Raises:
        ValueError, TypeError, OSError: as for `build_task`.
    """
    config = _data(config, train_examples=None)
    if dataset.preprocessing is not None and is_table(config.dataset):

        def training_rows(y: np.ndarray) -> np.ndarray:
            stratified = config.data.stratify != "no"
            kept, _ = training_parts(config, pick(Examples(y, y), fold.train), stratified)
            return np.asarray(fold.train[kept])

        dataset = load_data(config, training_rows=training_rows)
    weights = None if dataset.weights is None else dataset.weights[fold.train]
    groups = None if dataset.groups is None else dataset.groups[fold.train]
    train, held_out = pick(dataset.train, fold.train), pick(dataset.train, fold.held_out)
    dataset = dataset._replace(train=train, test=held_out, weights=weights, groups=groups)
    return split_task(config, dataset)


def _data(config: ExperimentConfig, **changes: Any) -> ExperimentConfig:
    """Return a configuration with changed settings of its data."""
    return dataclasses.replace(config, data=dataclasses.replace(config.data, **changes))
