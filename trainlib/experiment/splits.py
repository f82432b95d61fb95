"""Which examples of an experiment are used for training and which for validation."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from trainlib.core.checks import check_integer
from trainlib.data import Examples
from trainlib.data.examples import split_by_class, split_indices
from trainlib.experiment.balance import labels_of, oversampled
from trainlib.experiment.config import ExperimentConfig
from trainlib.experiment.functions import AUTO
from trainlib.experiment.targets import Target


def split_seed(config: ExperimentConfig) -> int:
    """Return the seed with which the validation examples are drawn."""
    given = config.data.split_seed
    return config.seed if given is None else given


def oversampled_indices(config: ExperimentConfig, y: np.ndarray, target: Target) -> np.ndarray:
    """Return the indices of the training examples, with those of rarer classes repeated.

    Args:
        config: the experiment.
        y: targets of the training examples.
        target: form of the targets.

    Raises:
        ValueError: the targets are not classes.
    """
    if not target.by_class:
        raise ValueError("oversample is for classes, but the targets are numbers")
    return oversampled(labels_of(y), split_seed(config))


def used_size(config: ExperimentConfig, size: int) -> int:
    """Return the number of examples for training and validation.

    Args:
        config: the experiment, whose `train_examples` limits the number.
        size: number of examples outside the test part.

    Raises:
        ValueError: `train_examples` is larger than `size`.
    """
    used = config.data.train_examples
    if used is None:
        return size
    check_integer("train_examples", used, at_least=1, at_most=size)
    return used


def training_parts(
    config: ExperimentConfig, examples: Examples, stratified: bool
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the indices of the training and the validation examples.

    Args:
        config: the experiment.
        examples: the examples outside the test part; integer targets are classes.
        stratified: whether stratify="auto" gives each part the same fraction of each class.

    Returns:
        The indices for training, and those for validation, None without a validation part.

    Raises:
        ValueError: a part would be empty, or the targets cannot be stratified.
    """
    data, y, used = config.data, examples.y, used_size(config, examples.size)
    by_class = not isinstance(y, Mapping) and y.dtype.kind == "i"
    if data.stratify == "yes" and not by_class:
        several = isinstance(y, Mapping)
        found = "there are several arrays of targets" if several else "the targets are numbers"
        raise ValueError(f"stratify=yes is for classes, but {found}")
    if not data.validation_split:
        return np.arange(used), None
    kept = round(data.validation_split * used)
    if not 0 < kept < used:
        raise ValueError(
            f"validation_split {data.validation_split:g} keeps {kept} of {used} training examples "
            "for validation; both parts need at least 1"
        )
    if by_class and (data.stratify == "yes" or (data.stratify == AUTO and stratified)):
        return split_by_class(y[:used], data.validation_split, split_seed(config))
    return split_indices(used, data.validation_split, split_seed(config))
