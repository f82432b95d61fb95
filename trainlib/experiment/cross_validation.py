"""`cross_validate`: a model for each fold, evaluated on the examples that the fold holds out."""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from trainlib.experiment import fold_files, run_folder
from trainlib.experiment.balance import labels_of
from trainlib.experiment.config import ExperimentConfig
from trainlib.experiment.fold_results import (
    CrossValidationError,
    CrossValidationResult,
    FoldConfig,
    FoldResult,
)
from trainlib.experiment.folds import Fold, fold_task, split_folds, whole_task
from trainlib.experiment.jobs import Failure, run_jobs
from trainlib.experiment.model_signature import main_output
from trainlib.experiment.result import Log
from trainlib.experiment.splits import split_seed
from trainlib.experiment.task import Task
from trainlib.experiment.trial import TrialResult, check_one_machine, check_trial, run_trial
from trainlib.tools.fold_scores import FoldScore, bias_and_variance, fold_score
from trainlib.training.array_adapter import ArrayAdapter
from trainlib.training.evaluator import Evaluator
from trainlib.training.pool import TrainerPool


def cross_validate(
    config: ExperimentConfig,
    options: FoldConfig | None = None,
    *,
    groups: np.ndarray | None = None,
    run_dir: str | os.PathLike[str] | None = None,
    resume: bool = False,
    log: Log = lambda line: None,
) -> CrossValidationResult:
    """Train a model for each fold, and evaluate it on the examples that the fold holds out.

    The folds split the examples outside the test part, which is not used. Each model is trained on
    the examples that its fold does not hold out, as by `run_trial`: a fraction `validation_split`
    of them, which may be 0, is for validation. The rules of a table's columns, the scaling of
    inputs and balanced class weights are fitted in each fold, without the held-out examples.

    Args:
        config: the experiment.
        options: a `FoldConfig`. Default: None, its defaults.
        groups: group of each example outside the test part, [N], for grouped folds. Default: None,
            the column `config.data.group_column`.
        run_dir: folder to write, new or empty, with folds.csv, out_of_fold.csv, summary.json and
            report.html. Default: None, nothing is written.
        resume: whether finished folds of an interrupted call are read from `run_dir` instead of
            trained again; settings and data must be the same. Default: False.
        log: function called with a line for each fold. Default: not called.

    Returns:
        A `CrossValidationResult`.

    Raises:
        ValueError, TypeError, OSError: something that the configuration names does not exist or
            does not suit the data.
        CrossValidationError: all folds failed.

    Example:
        >>> config = tl.ExperimentConfig(
        ...     data=tl.DataConfig(train_examples=90, validation_split=0),
        ...     model=tl.config("mlp", hidden=[8]),
        ...     epochs=1,
        ...     execution="graph",
        ... )
        >>> result = tl.cross_validate(config, tl.FoldConfig(folds=2))
        >>> sorted(result.scores), result.out_of_fold.shape
        (['accuracy', 'loss'], (1, 90, 10))
    """
    options = options or FoldConfig()
    folder = run_folder.given_path(run_dir, resume, "cross-validation")
    task, splits = checked_folds(config, options, groups)
    if folder is not None:
        identity = _identity(config, task, splits)
        if resume:
            fold_files.check_resumed(folder, config, options, identity)
        else:
            run_folder.create(config, folder)
            fold_files.write_options(folder, options, identity)
    with contextlib.nullcontext() if folder is None else run_folder.locked(folder):
        done: dict[int, FoldResult] = {}
        if folder is not None and resume:
            done = fold_files.read_results(folder, len(splits))
        log(_head(task, options))
        ordered = _all_results(config, options, folder, task, splits, done, log)
        found = _collected(config, options, folder, task, splits, ordered)
        if folder is not None:
            fold_files.write_summary(found, task)
    return found


def checked_folds(
    config: ExperimentConfig, options: FoldConfig, groups: np.ndarray | None = None
) -> tuple[Task, list[Fold]]:
    """Return the data of a cross-validation and its folds, after all checks of both.

    Args:
        config: the experiment.
        options: options of the folds.
        groups: as for `cross_validate`. Default: None.

    Raises:
        ValueError, TypeError, OSError: as for `cross_validate`.
    """
    if not config.ensemble.is_one:
        raise ValueError("ensemble is for one run, but each fold trains one model: leave it out")
    check_one_machine("folds", config)
    check_trial(config)
    task = whole_task(config)
    splits = split_folds(
        task, options.folds, options.kind, options.repeats, groups, split_seed(config)
    )
    fold_task(config, task.dataset, splits[0])
    return task, splits


def _identity(config: ExperimentConfig, task: Task, splits: Sequence[Fold]) -> dict[str, str]:
    """Return texts that identify the data and the folds."""
    arrays = task.arrays(task.train)
    weighted = arrays if task.weights is None else (*arrays, task.weights)
    total = 0
    for index in itertools.chain.from_iterable(splits):
        total = zlib.crc32(np.asarray(index, np.int64).tobytes(), total)
    # An adapter hashes lazy arrays too; with placed_bytes=0 nothing is copied to the device.
    adapter = ArrayAdapter("data", weighted, config.batch_size, placed_bytes=0)
    return {"data": adapter.fingerprint, "splits": f"{len(splits)} folds, crc32 {total:08x}"}


def _all_results(
    config: ExperimentConfig,
    options: FoldConfig,
    folder: Path | None,
    task: Task,
    splits: Sequence[Fold],
    done: Mapping[int, FoldResult],
    log: Log,
) -> list[FoldResult]:
    """Return the results of all folds in their order, after training those that are not done."""
    results = dict(done)
    for number, result in _train(config, options, task, splits, done):
        results[number] = result
        if folder is not None:
            fold_files.write_result(folder, number, result)
        log(_line(result, options, len(results), len(splits)))
    ordered = [results[number] for number in range(len(splits))]
    if all(result.failure for result in ordered):
        raise CrossValidationError(f"all folds failed, the first by: {ordered[0].failure}")
    return ordered


def _head(task: Task, options: FoldConfig) -> str:
    """Return the line that is logged before the first fold."""
    repeats = f", {options.repeats} times" if options.repeats > 1 else ""
    return f"{task.dataset.name}: {task.train.size:,} examples in {options.folds} folds{repeats}"


def _line(result: FoldResult, options: FoldConfig, finished: int, count: int) -> str:
    """Return the line that is logged after a fold."""
    repeat = f"repeat {result.repeat + 1} " if options.repeats > 1 else ""
    values = {k: x for k, x in result.held_out.items() if isinstance(x, float)}
    text = result.failure or "  ".join(f"{name} {x:.4g}" for name, x in values.items())
    width = len(str(count))
    return f"{finished:{width}d}/{count}  {repeat}fold {result.fold + 1}  {text}"


class _Worker:
    """State of a process that trains folds: the data, read once, and compiled programs."""

    def __init__(self, config: ExperimentConfig, task: Task | None) -> None:
        self.config = config
        self.pool = TrainerPool()
        self._task = task

    @property
    def task(self) -> Task:
        """All examples outside the test part."""
        if self._task is None:
            self._task = whole_task(self.config)
        return self._task


def _train(
    config: ExperimentConfig,
    options: FoldConfig,
    task: Task,
    splits: Sequence[Fold],
    done: Mapping[int, FoldResult],
) -> Iterator[tuple[int, FoldResult]]:
    """Train the unfinished folds; yield the number and the result of each, as they end."""
    numbers = [number for number in range(len(splits)) if number not in done]
    make = functools.partial(_Worker, config, task if options.jobs == 1 else None)
    arguments = [splits[number] for number in numbers]
    for job in run_jobs(_run_fold, make, arguments, options.jobs):
        number = numbers[job.position]
        place = divmod(number, options.folds)
        yield number, _result(*place, splits[number], job.value, job.failure)


def _run_fold(worker: _Worker, fold: Fold) -> tuple[TrialResult, int, np.ndarray]:
    """Return the trial of a fold, its number of distinct training examples, and its predictions."""
    config = worker.config
    task = fold_task(config, worker.task.dataset, fold)
    trial = run_trial(config, task, pool=worker.pool)
    x, _ = task.arrays(task.part("test"))
    size = task.part("test").size
    evaluator = Evaluator(
        trial.build_model(), precision=config.precision, execution=trial.config.execution
    )
    predictions = main_output(task.signature, evaluator.predict(x))
    slim = trial._replace(weights=[], architecture={})
    distinct = len(fold.train) - (0 if task.validation is None else task.validation.size)
    return slim, distinct, np.asarray(predictions, np.float32).reshape(size, -1)


def _result(
    repeat: int,
    fold: int,
    split: Fold,
    value: tuple[TrialResult, int, np.ndarray] | None,
    failure: Failure | None,
) -> FoldResult:
    if value is None:
        return FoldResult(
            repeat, fold, len(split.train), {}, None, {}, 0, 0.0, None, failure=str(failure)
        )
    trial, size, predictions = value
    return FoldResult(
        repeat,
        fold,
        size,
        trial.train or {},
        trial.validation,
        trial.test or {},
        len(trial.history),
        trial.seconds,
        predictions,
    )


def _collected(
    config: ExperimentConfig,
    options: FoldConfig,
    folder: Path | None,
    task: Task,
    splits: Sequence[Fold],
    folds: Sequence[FoldResult],
) -> CrossValidationResult:
    """Return the results of the cross-validation, given those of all folds."""
    finished = [x for x in folds if x.predictions is not None]
    held_out = np.mean([len(splits[0].held_out) / x.train_size for x in finished])
    score = functools.partial(_scores, ratio=float(held_out), confidence=options.confidence)
    columns = finished[0].predictions.shape[1]  # type: ignore[union-attr]
    shape = (options.repeats, task.train.size, columns)
    out_of_fold = np.full(shape, np.nan, np.float32)
    for split, result in zip(splits, folds, strict=True):
        if result.predictions is not None:
            out_of_fold[result.repeat, split.held_out] = result.predictions
    targets = labels_of(task.train.y) if task.target.by_class else task.train.y
    parts = None
    if options.repeats > 1 and len(finished) == len(folds):
        rows = np.eye(columns)[targets] if task.target.by_class and columns > 1 else targets
        parts = bias_and_variance(out_of_fold, rows) if rows.size == out_of_fold[0].size else None
    return CrossValidationResult(
        config,
        options,
        folder,
        splits,
        folds,
        score([x.held_out for x in finished]),
        score([x.train for x in finished]),
        out_of_fold,
        targets,
        parts,
    )


def _scores(
    results: Sequence[Mapping[str, Any]], ratio: float, confidence: float
) -> dict[str, FoldScore]:
    """Return the scalar results over the folds, by name."""
    names = [name for name, value in results[0].items() if isinstance(value, float)]
    return {
        name: fold_score([result[name] for result in results], ratio, confidence) for name in names
    }
