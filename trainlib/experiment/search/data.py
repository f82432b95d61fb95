"""The data of trials: loaded once in a process, and split into folds."""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable, Iterator

import numpy as np

from trainlib.data.examples import pick
from trainlib.experiment.config import ExperimentConfig
from trainlib.experiment.task import Task, build_task
from trainlib.experiment.wiring import wiring_of

KEPT = 2
"""Number of tasks that are kept: trials may differ in how the data are prepared."""


class TaskCache:
    """The tasks of the last configurations, so that trials do not load the data again."""

    def __init__(self) -> None:
        self._tasks: dict[Hashable, Task] = {}

    def task(self, config: ExperimentConfig, is_whole: bool = False) -> Task:
        """Return the task of a configuration, as `build_task` makes it.

        Args:
            config: the configuration.
            is_whole: whether all examples outside the test part are training examples, for folds.
                Default: False.
        """
        if is_whole:
            data = dataclasses.replace(config.data, validation_split=0.0)
            config = dataclasses.replace(config, data=data)
        key = _key(config)
        task = self._tasks.pop(key, None)
        if task is None:
            task = build_task(config)
        self._tasks[key] = task
        while len(self._tasks) > KEPT:
            del self._tasks[next(iter(self._tasks))]
        return task._replace(wiring=wiring_of(config, task.train.x.shape[1:]))


def _key(config: ExperimentConfig) -> Hashable:
    """Return what the task of a configuration depends on, but for its wiring."""
    settings = (config.dataset, config.data, config.seed, config.loss, config.metrics)
    code = (config.imports, config.code_path, config.precision)
    return (*settings, *code, config.model.name, config.regularizer is None)


def folds_of(task: Task, folds: int, seed: int) -> Iterator[Task]:
    """Yield the task of each fold: its examples are the validation part, the others the training.

    Folds of classes have their share of each class.

    Args:
        task: a task without a validation part.
        folds: number of folds, at least 2.
        seed: seed of the split.

    Raises:
        ValueError: scikit-learn is not installed, or there are fewer examples than folds.
    """
    try:
        from sklearn.model_selection import KFold, StratifiedKFold
    except ImportError:
        raise ValueError("folds needs scikit-learn: pip install scikit-learn") from None
    y = task.train.y
    kind = StratifiedKFold if y.dtype.kind == "i" and y.ndim == 1 else KFold
    splits = kind(folds, shuffle=True, random_state=seed).split(np.zeros(len(y)), y)
    for kept, held_out in splits:
        kept = np.asarray(kept, np.int64)
        yield task._replace(
            train=pick(task.train, kept),
            validation=pick(task.train, held_out),
            weights=None if task.weights is None else task.weights[kept],
        )
