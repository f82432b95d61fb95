"""The options and the results of a cross-validation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from trainlib.core.checks import check_integer
from trainlib.experiment.config import ExperimentConfig
from trainlib.experiment.fields import check_settings, setting, short_repr
from trainlib.experiment.folds import KINDS, Fold
from trainlib.tools.fold_scores import BiasVariance, FoldScore


@dataclass(frozen=True, kw_only=True, repr=False)
class FoldConfig:
    """Options of `tl.cross_validate`.

    Args:
        folds: number of folds, at least 2. Default: 5.
        kind: "plain", "stratified", "grouped", "stratified_grouped", or "auto", the default:
            grouped if the data have groups, and stratified for classes.
        repeats: number of times that the examples are split into folds, each time in another order,
            at least 1. Default: 1.
        confidence: confidence level of the intervals, in (0, 1). Default: 0.95.
        jobs: number of processes that train folds; they share the processor's cores. Default: 1,
            this process.

    Raises:
        ValueError, TypeError: an option has another type or is out of its range.

    Example:
        >>> tl.FoldConfig(folds=3, repeats=2)
        FoldConfig(folds=3, repeats=2)
    """

    folds: int = 5
    kind: str = setting(
        "str",
        "auto",
        "How examples are assigned to folds. plain: at random; stratified: each fold has its share "
        "of each class; grouped: a fold holds out whole groups of --group_column; auto: grouped if "
        "there are groups, stratified for classes.",
        flag="fold_kind",
        group="Cross-validation",
        choices=KINDS,
    )
    repeats: int = setting(
        "int",
        1,
        "Number of times that the examples are split into folds; each time in another order.",
        flag="fold_repeats",
        at_least=1,
    )
    confidence: float = setting(
        "float",
        0.95,
        "Confidence of the intervals of mean results.",
        flag="fold_confidence",
        above=0,
        below=1,
    )
    jobs: int = 1

    __repr__ = short_repr

    def __post_init__(self) -> None:
        check_settings(self)
        check_integer("folds", self.folds, at_least=2)
        check_integer("jobs", self.jobs, at_least=1)


class FoldResult(NamedTuple):
    """Result of one fold.

    Attributes:
        repeat: number of the repeat, from 0.
        fold: number of the fold in its repeat, from 0.
        train_size: number of distinct training examples, without validation examples.
        train: loss and metrics on the training examples; {} after a failure.
        validation: loss and metrics on the validation examples; None if there are none.
        held_out: loss and metrics on the held-out examples; {} after a failure.
        epochs: epochs of training.
        seconds: seconds of training.
        predictions: predictions of the held-out examples: probabilities or scores [n, K], or
            numbers [n, 1]; None after a failure.
        failure: reason of the failure; None if the fold did not fail.
    """

    repeat: int
    fold: int
    train_size: int
    train: Mapping[str, Any]
    validation: Mapping[str, Any] | None
    held_out: Mapping[str, Any]
    epochs: int
    seconds: float
    predictions: np.ndarray | None
    failure: str | None = None


class CrossValidationResult(NamedTuple):
    """Result of `cross_validate`.

    Attributes:
        config: the configuration.
        options: the options of the folds.
        folder: folder with the files; None if nothing was written.
        splits: the indices of each fold.
        folds: the result of each fold, in the order of `splits`.
        scores: loss and metrics on the held-out examples, over the folds that did not fail.
        train_scores: loss and metrics on the training examples, over the same folds.
        out_of_fold: predictions for each example by models that were not trained on it,
            [repeats, N, K] or [repeats, N, 1]; NaN where a fold failed.
        targets: targets of the examples, [N]: classes or numbers.
        bias_variance: decomposition of the squared error; None for one repeat.
    """

    config: ExperimentConfig
    options: FoldConfig
    folder: Path | None
    splits: Sequence[Fold]
    folds: Sequence[FoldResult]
    scores: Mapping[str, FoldScore]
    train_scores: Mapping[str, FoldScore]
    out_of_fold: np.ndarray
    targets: np.ndarray
    bias_variance: BiasVariance | None


class CrossValidationError(Exception):
    """All folds failed."""
